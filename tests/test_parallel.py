"""Layouts: what follows, what is refused and with which words, and where ranks lie."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.decoder import decoder
from perfmodel.errors import InputError
from perfmodel.estimation import estimate
from perfmodel.parallel import AXES, RULES, Group, Parallel, groups, sentences
from perfmodel.workload import Training
from tests.strategies import cluster, jobs

MODEL = decoder(name="m", layers=6, hidden=512, heads=8, kv_heads=4, inner=1536, vocabulary=32000)
DEGREE = st.integers(1, 64)


def checked(layout, *, devices, global_batch=64, model=MODEL):
    """The layout on so many devices, its rules checked."""
    placed = layout.on(devices)
    placed.check(model, Training(global_batch=global_batch, sequence_length=128))
    return placed


def told(layout, **job):
    """The faults of a layout, one sentence each."""
    with pytest.raises(InputError) as error:
        checked(layout, **job)
    return list(error.value.faults)


# --- dp follows ---------------------------------------------------------------------------------------------------


@given(tp=DEGREE, pp=DEGREE, cp=DEGREE, dp=DEGREE)
def test_dp_follows_from_the_devices(tp, pp, cp, dp):
    layout = Parallel(tp=tp, pp=pp, cp=cp)
    assert layout.replica == tp * pp * cp
    assert layout.on(tp * pp * cp * dp) == layout.replace(dp=dp)
    assert layout.replace(dp=dp).on(tp * pp * cp * dp) == layout.replace(dp=dp)


def test_a_wrong_product_is_told_with_the_dp_that_fits():
    assert told(Parallel(tp=2, dp=3), devices=8) == [
        "tp · pp · cp · dp = 2 · 3 = 6, but the cluster has 8 devices; dp = 4 fits, or leave dp out and it follows"
    ]


def test_devices_that_do_not_divide_are_told_with_a_number_that_does():
    assert told(Parallel(tp=2, pp=3, cp=5), devices=100) == [
        "tp · pp · cp = 2 · 3 · 5 = 30 does not divide 100 devices; nearest: 90 devices"
    ]
    assert told(Parallel(tp=8, pp=4), devices=8) == [
        "tp · pp · cp = 8 · 4 · 1 = 32 does not divide 8 devices; nearest: 32 devices"
    ]


@given(layout=st.builds(Parallel, tp=DEGREE, pp=DEGREE, cp=DEGREE), devices=st.integers(1, 10**6))
def test_the_nearest_number_of_devices_works(layout, devices):
    try:
        layout.on(devices)
    except InputError as error:
        layout.on(int(re.search(r"nearest: (\d+) devices", str(error))[1]))


# --- rules --------------------------------------------------------------------------------------------------------


def test_a_layout_that_keeps_every_rule_is_not_touched():
    placed = checked(Parallel(tp=4, pp=2, vpp=3, micro_batch=2), devices=16)
    assert placed == Parallel(tp=4, pp=2, vpp=3, micro_batch=2, dp=2)


@settings(max_examples=50)
@given(jobs())
def test_jobs_that_keep_the_rules_can_be_estimated(job):
    assert estimate(**job.arguments).step_time > 0


def test_heads_and_columns_are_whole_on_every_rank():
    assert told(Parallel(tp=16), devices=16) == [
        "tp = 16 does not divide the 8 attention heads; valid: 1, 2, 4, 8; nearest: 8"
    ]
    odd = MODEL.replace(blocks=decoder(layers=2, hidden=90, heads=30, inner=250, vocabulary=64).blocks)
    assert told(Parallel(tp=3), devices=3, global_batch=1, model=odd) == [
        "tp = 3 does not divide the 250 feed-forward columns; valid: 1, 2, 5, 10, 25, 50, 125, 250; nearest: 2"
    ]


def test_key_value_heads_are_divided_or_copied_whole():
    model = decoder(layers=2, hidden=96, heads=24, kv_heads=4, inner=240, vocabulary=64)
    assert told(Parallel(tp=6), devices=6, model=model, global_batch=6) == [
        "tp = 6 neither divides the 4 key-value heads nor is a multiple of them; "
        "valid: 1, 2, 4, 8, 12, 16, 20, 24, 28, 32; nearest: 4"
    ]
    checked(Parallel(tp=2), devices=2, model=model)
    checked(Parallel(tp=8), devices=8, model=model)  # each head on two ranks


def test_every_chunk_has_a_layer():
    assert told(Parallel(pp=16), devices=16) == [
        "pp · vpp = 16 · 1 = 16 needs a layer for every chunk, and the model has 6; valid: pp · vpp up to 6; "
        "nearest: pp = 6, vpp = 1"
    ]
    checked(Parallel(pp=8), devices=8)  # the embedding and the head stand in for a layer each


def test_interleaving_needs_a_pipeline():
    assert told(Parallel(vpp=2), devices=1) == [
        "vpp = 2 interleaves the chunks of several stages, and pp = 1; nearest: vpp = 1"
    ]


def test_interleaving_takes_micro_batches_in_rounds():
    assert told(Parallel(pp=2, vpp=3), devices=2, global_batch=5) == [
        "vpp = 3 takes micro-batches in rounds of pp = 2, which does not divide 5; "
        "nearest: global_batch = 4, or vpp = 1"
    ]
    checked(Parallel(pp=2, vpp=3), devices=2, global_batch=4)
    checked(Parallel(pp=2), devices=2, global_batch=5)


def test_the_global_batch_is_whole_micro_batches():
    assert told(Parallel(micro_batch=3), devices=4, global_batch=64) == [
        "dp · micro_batch = 4 · 3 = 12 does not divide the global batch 64; nearest: global_batch = 60"
    ]
    assert told(Parallel(micro_batch=64), devices=4, global_batch=64) == [
        "dp · micro_batch = 4 · 64 = 256 does not divide the global batch 64; nearest: global_batch = 256"
    ]


def test_several_broken_rules_are_told_in_one_error():
    with pytest.raises(InputError) as error:
        checked(Parallel(tp=5, pp=3, vpp=4, micro_batch=3), devices=30, global_batch=8)
    assert len(error.value.faults) == 5
    assert str(error.value).startswith(
        "Parallel has 5 faults:\n  - tp = 5 does not divide the 8 attention heads"
    )
    assert str(error.value).count("\n  - ") == 5


@given(
    tp=st.integers(1, 40), pp=st.integers(1, 40), vpp=st.integers(1, 5), micro_batch=st.integers(1, 9),
    dp=st.integers(1, 9), global_batch=st.integers(1, 999),
)  # fmt: skip
def test_every_sentence_has_its_numbers_and_a_way_out(tp, pp, vpp, micro_batch, dp, global_batch):
    layout = Parallel(tp=tp, pp=pp, vpp=vpp, micro_batch=micro_batch, dp=dp)
    work = Training(global_batch=global_batch, sequence_length=128)
    for rule in RULES:
        for sentence in sentences(rule(layout, MODEL, work)):
            assert "\n" not in sentence
            assert re.match(r"(tp|pp · vpp|vpp|dp · micro_batch) = \d+", sentence)
            assert "; nearest: " in sentence
            # the nearest choice keeps the rule that was broken
            nearest = dict(re.findall(r"(\w+) = (\d+)", sentence.partition("nearest: ")[2]))
            if re.search(r"nearest: \d+$", sentence):
                nearest = {"tp": sentence.rpartition(" ")[2]}
            batch = int(nearest.pop("global_batch", global_batch))
            if batch != global_batch:
                nearest.pop("vpp", None)  # the other way out
            changed = layout.replace(**{name: int(value) for name, value in nearest.items()})
            assert sentence not in list(sentences(rule(changed, MODEL, work.replace(global_batch=batch))))
            assert changed != layout or batch != global_batch


# --- values no layout can have ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["tp", "pp", "vpp", "cp", "dp", "micro_batch"])
@pytest.mark.parametrize("value", [0, -1, 10**9, True, "8", 2.5, 8.0, math.nan, math.inf, [8], {"tp": 8}, 1j])
def test_absurd_degrees_are_refused_by_name(field, value):
    with pytest.raises(InputError) as error:
        Parallel(**{field: value})
    assert str(error.value).startswith(f"Parallel: {field} must be ")
    assert "\n" not in str(error.value)


def test_whole_numbers_of_numpy_are_degrees():
    assert Parallel(tp=np.int64(8)) == Parallel(tp=8)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"sharding": "zero4"},
            "sharding must be 'none', 'zero1', 'zero2', 'zero3' or 'hsdp', not 'zero4'; did you mean",
        ),
        ({"overlap": ("tp", "xp")}, "overlap[1] must be 'tp', 'cp', 'ep', 'dp' or 'pp', not 'xp'"),
        ({"overlap": "tp"}, "overlap must be a valid tuple, not 'tp'"),
        ({"sequence_parallel": 1}, "sequence_parallel must be a valid boolean, not 1"),
        ({"ttp": 8}, 'unknown field "ttp"; did you mean'),
        ({"micro_batch": None}, "micro_batch must be a valid integer, not None"),
    ],
)
def test_other_fields_are_refused_with_what_is_valid(fields, words):
    with pytest.raises(InputError) as error:
        Parallel(**fields)
    assert words in str(error.value)


def test_a_layout_is_changed_by_copy():
    layout = Parallel(tp=8)
    with pytest.raises(InputError, match=r"frozen; a changed copy is \.replace\(tp=…\)"):
        layout.tp = 4
    assert layout.replace(tp=4) == Parallel(tp=4)
    with pytest.raises(InputError, match="tp must be greater"):
        layout.replace(tp=0)


# --- placement ----------------------------------------------------------------------------------------------------


def test_groups_by_hand():
    """2 · 3 · 5 · 7 devices: tensor neighbours first, then context, data, and pipeline stages farthest apart."""
    placed = groups(Parallel(tp=2, cp=3, dp=5, pp=7))
    by_hand = {
        "tp": Group(2, 1), "cp": Group(3, 2), "dp": Group(5, 6), "pp": Group(7, 30), "data": Group(15, 2),
    }  # fmt: skip
    assert {axis: placed[axis] for axis in by_hand} == by_hand


@given(tp=DEGREE, cp=DEGREE, dp=DEGREE, pp=DEGREE)
def test_groups_tile_the_cluster(tp, cp, dp, pp):
    """Walking every axis by its stride meets each device once."""
    placed = groups(Parallel(tp=tp, cp=cp, dp=dp, pp=pp))
    stride = 1
    for axis in AXES:
        assert placed[axis].stride == stride
        stride *= placed[axis].ranks
    assert stride == tp * cp * dp * pp
    assert placed["data"] == Group(cp * dp, tp)


def test_micro_batches_of_a_step():
    layout = Parallel(micro_batch=2, dp=4)
    assert layout.micro_batches(64) == 8
    np.testing.assert_array_equal(layout.micro_batches(np.array([64.0, 128.0])), [8, 16])


def test_an_estimate_places_and_checks():
    work = Training(global_batch=8, sequence_length=128)
    est = estimate(MODEL, work, Parallel(tp=2), cluster(8))
    assert est.layout == Parallel(tp=2, dp=4)
    with pytest.raises(InputError, match="tp = 3 does not divide"):
        estimate(MODEL, Training(global_batch=2, sequence_length=128), Parallel(tp=3), cluster(6))
