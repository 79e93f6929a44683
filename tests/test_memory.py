"""The three peaks that tools tell, and what holds memory only for a while."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.costs import training_costs
from perfmodel.decoder import decoder
from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.parallel import Parallel
from perfmodel.validation.rows import memory_metric
from perfmodel.workload import Training
from tests.strategies import cluster, device, gpt, ideal

OVERHEAD = {"context": 2**30, "communication": 2**28, "fragmentation": 0.2}


def stage(layout=None, model=None, **work):
    job = Training(**({"global_batch": 8, "sequence_length": 32} | work))
    return training_costs(model or gpt(), job, layout or Parallel(dp=8, sharding="zero3")).memory[0]


def memory(layout=None, devices=8, **machine):
    work = Training(global_batch=8, sequence_length=32)
    fits = ideal(overhead=OVERHEAD)
    return estimate(
        gpt(), work, (layout or Parallel()).on(devices), cluster(devices, **machine), efficiency=fits
    ).memory


def test_each_tool_tells_its_own_peak():
    """A fifth of what the allocator holds is no tensor: a quarter on top of the tensors. One axis talks."""
    found = memory()
    tensors = found.states + found.activations + found.buffers
    assert found.allocated == tensors
    assert found.reserved == pytest.approx(1.25 * tensors)
    assert found.device == found.total == pytest.approx(1.25 * tensors + 2**30 + 2**28)
    assert [found.measured_as(metric) for metric in ("allocated", "reserved", "device")] == [
        found.allocated, found.reserved, found.device,
    ]  # fmt: skip
    assert sum(found.by_kind.values()) == pytest.approx(found.total)


@pytest.mark.parametrize(
    ("layout", "devices", "axes"),
    [
        (Parallel(), 1, 0),
        (Parallel(), 8, 1),
        (Parallel(tp=2), 8, 2),
        (Parallel(tp=2, pp=2), 8, 3),
        (Parallel(tp=2), 2, 1),
    ],
)
def test_every_axis_that_talks_has_buffers(layout, devices, axes):
    assert memory(layout, devices).communication == axes * 2**28


def test_a_full_device_has_no_room_for_a_cache():
    """The allocator gives back what no tensor uses before it gives up."""
    roomy = memory()
    needed = roomy.allocated + roomy.context + roomy.communication
    for capacity, lost in ((needed + 1000, 1000), (needed, 0), (needed / 2, 0)):
        tight = memory(device=device(memory={"capacity": capacity, "bandwidth": 2e12}))
        assert tight.fragmentation == pytest.approx(lost, abs=1e-3)
        assert tight.fits == (capacity >= needed)


def test_an_unknown_metric_gets_near_ones():
    with pytest.raises(InputError, match='unknown memory metric "reserve"; did you mean reserved'):
        memory().measured_as("reserve")


@pytest.mark.parametrize(
    ("told", "metric"),
    [
        ("max reserved, GiB", "reserved"),
        ("max allocated", "allocated"),
        ("nvidia-smi", "device"),
        (None, "device"),
    ],
)
def test_a_row_names_its_metric(told, metric):
    assert memory_metric({"memory_metric": told}) == metric


# --- gradients ------------------------------------------------------------------------------------------------------


def test_split_gradients_come_where_activations_go():
    """With one micro-batch the two are never there at once; with two, gradients of the first stay."""
    one, two = stage(), stage(global_batch=16)
    assert one.reused == min(one.gradients, one.activations) > 0
    assert one.total == one.weights + one.optimizer + max(one.gradients, one.activations) + one.buffers
    assert two.reused == 0
    assert stage(Parallel(dp=8, sharding="zero2")).reused == 0


@pytest.mark.parametrize(
    ("fields", "gradients", "optimizer"),
    [
        ({"precision": "fp16"}, 4, 12),
        ({"precision": "fp16", "gradient_dtype": "bf16"}, 2, 12),
        ({"precision": "fp16", "gradient_copy": "update"}, 2, 16),
        ({"precision": "bf16", "gradient_copy": "accumulated"}, 6, 12),
    ],
)
def test_a_second_gradient_has_its_place(fields, gradients, optimizer):
    """DeepSpeed: 4 + 16 / ranks bytes a parameter for fp16, 8 + 12 / ranks for bf16, weights included."""
    found = stage(Parallel(dp=8, sharding="zero1"), **fields)
    parameters = gpt().parameters
    assert found.weights == 2 * parameters
    assert found.gradients == gradients * parameters
    assert found.optimizer == optimizer * parameters / 8


# --- recomputation --------------------------------------------------------------------------------------------------

LLAMA = decoder(layers=4, hidden=64, heads=4, kv_heads=2, inner=96, vocabulary=128)
RESULTS = ["query", "key", "value", "attention core", "output", "gate", "up"]


@given(st.lists(st.sampled_from(RESULTS), unique=True), st.sampled_from(RESULTS))
def test_memory_grows_with_what_is_kept(keep, another):
    def kept(names):
        return stage(model=LLAMA, recompute="full", recompute_keep=tuple(names)).activations

    more = [*keep, *({another} - set(keep))]
    assert kept(keep) <= kept(more)


def test_recomputing_more_keeps_less():
    policies = ({"recompute": "full"}, {"recompute": "full", "recompute_policy": "minimal_flash"}, {})
    kept = [stage(model=LLAMA, **policy).activations for policy in policies]
    assert kept == sorted(kept)
