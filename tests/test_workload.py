"""What is to be run: refused where it cannot be, with the valid choices; formats by hand."""

import pytest

from perfmodel.errors import InputError
from perfmodel.workload import OPTIMIZERS, PRECISIONS, Training


def training(**changes):
    return Training(**({"global_batch": 8, "sequence_length": 1024} | changes))


def bytes_of_states(work):
    formats, optimizer = work.formats, OPTIMIZERS[work.optimizer]
    return formats.weight_bytes + formats.gradient_bytes + formats.master_bytes + optimizer.state_bytes


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_keeps_18_bytes_a_parameter(precision):
    """Weights 2, gradients 4, master copy 4, two moments of 4; 16 with gradients of 2, as in arXiv:1910.02054."""
    assert bytes_of_states(training(precision=precision)) == 18
    assert bytes_of_states(training(precision=precision, gradient_dtype="bf16")) == 16


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_full_precision_keeps_16_bytes_a_parameter(precision):
    assert bytes_of_states(training(precision=precision)) == 16


def test_gradients_are_reduced_in_the_format_they_are_kept_in():
    assert (training().formats.gradient_bytes, training().formats.reduce_bytes) == (4, 4)
    short = training(gradient_dtype="bf16").formats
    assert (short.gradient_bytes, short.reduce_bytes) == (2, 2)
    assert short._replace(gradient_bytes=4, reduce_bytes=4) == training(gradient_dtype="fp32").formats


def test_formats_name_the_peak_they_are_measured_against():
    assert {name: formats.dtype for name, formats in PRECISIONS.items()} == {
        "bf16": "bf16", "fp16": "fp16", "tf32": "tf32", "fp32": "fp32",
        "fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp4",
    }  # fmt: skip


@pytest.mark.parametrize("precision", ["fp8", "mxfp8", "nvfp4"])
def test_below_16_bits_only_the_linear_layers_change(precision):
    formats = PRECISIONS[precision]
    assert formats.core_dtype == "bf16"
    assert formats.operand_bytes < 2 == formats.activation_bytes
    assert bytes_of_states(training(precision=precision)) == 18


def test_block_formats_carry_their_scales():
    """One 8-bit scale for 32 elements of mxfp8, and for 16 of nvfp4."""
    assert PRECISIONS["mxfp8"].operand_bytes == (32 + 1) / 32
    assert PRECISIONS["nvfp4"].operand_bytes == (16 / 2 + 1) / 16


def test_tokens_are_exact():
    assert training(global_batch=10**9, sequence_length=10**9).tokens == 10**18


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"precision": "bf61"},
            'unknown precision "bf61"; did you mean bf16? valid: bf16, fp16, fp32, fp8, mxfp8, nvfp4, tf32',
        ),
        ({"optimizer": "adam"}, 'unknown optimizer "adam"; did you mean adamw or'),
        ({"recompute": "some"}, "recompute must be 'none', 'selective' or 'full', not 'some'"),
        ({"attention": "fast"}, "attention must be 'flash' or 'unfused', not 'fast'"),
        ({"gradient_dtype": "fp8"}, "gradient_dtype must be 'fp32', 'bf16' or None, not 'fp8'"),
        ({"global_batch": 0}, "global_batch must be greater than 0, not 0"),
        ({"global_batch": -8}, "global_batch must be greater than 0, not -8"),
        ({"global_batch": 10**10}, "global_batch must be less than or equal to 1000000000, not 10000000000"),
        ({"global_batch": True}, "global_batch must be a valid integer, not True"),
        ({"global_batch": "8"}, "global_batch must be a valid integer, not '8'"),
        ({"sequence_length": 2.5}, "sequence_length must be a valid integer, not 2.5"),
        ({"sequence_length": float("nan")}, "sequence_length must be a valid integer, not nan"),
        ({"dropout": 1}, "dropout must be a valid boolean, not 1"),
        ({"sequence": 1024}, 'unknown field "sequence"; did you mean sequence_length?'),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_sentence(fields, told):
    with pytest.raises(InputError) as error:
        training(**fields)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_all_faults_are_told_at_once():
    with pytest.raises(InputError, match="Training has 3 faults") as error:
        training(global_batch=0, sequence_length="long", recompute="maybe")
    assert len(error.value.faults) == 3


def test_what_is_missing_is_told_by_name():
    with pytest.raises(InputError, match="global_batch is missing"):
        Training(sequence_length=8)
