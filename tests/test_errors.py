"""Errors: the tree, near names, and several faults told at once."""

import pickle

import pytest

from perfmodel import errors


def test_tree_lets_callers_catch_the_builtin_kin():
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.UnknownNameError, LookupError)
    assert issubclass(errors.MissingExtraError, ImportError)
    for kind in (errors.UnknownNameError, errors.UnitError, errors.SpecError, errors.UnsupportedError):
        assert issubclass(kind, errors.InputError)
    for name in errors.__all__:
        member = getattr(errors, name)
        if isinstance(member, type) and issubclass(member, Exception):
            assert issubclass(member, errors.PerfModelError)


def test_near_finds_typing_slips_and_parts_of_names():
    names = ["nvidia-h100-sxm-80gb", "nvidia-h100-pcie-80gb", "amd-mi300x-192gb"]
    assert errors.near("amd-mi300-192gb", names)[0] == "amd-mi300x-192gb"
    assert set(errors.near("H100", names)) == set(names[:2])
    assert errors.near("zzz", names) == []
    assert errors.near("", names) == []


def test_unknown_lists_a_short_choice_and_counts_a_long_one():
    assert str(errors.unknown("dtype", "fp7", ["fp8"])) == 'unknown dtype "fp7"; did you mean fp8? valid: fp8'
    many = [f"device-{n}" for n in range(26)]
    message = str(errors.unknown("device", "zz", many, "pm.devices() lists them"))
    assert message == 'unknown device "zz"; 26 are known; pm.devices() lists them'
    assert "there is no link to choose from" in str(errors.unknown("link", "x", []))


def test_one_fault_is_one_line_and_several_are_bullets():
    faults = errors.Faults("Parallel")
    faults.raise_if_any()
    faults.add("tp = 3 does not divide 64")
    with pytest.raises(errors.InputError, match=r"^Parallel: tp = 3 does not divide 64$"):
        faults.raise_if_any()
    faults.add("pp = 0 must be at least 1")
    with pytest.raises(errors.SpecError) as caught:
        faults.raise_if_any(errors.SpecError)
    assert str(caught.value) == (
        "Parallel has 2 faults:\n  - tp = 3 does not divide 64\n  - pp = 0 must be at least 1"
    )
    assert caught.value.faults == ("tp = 3 does not divide 64", "pp = 0 must be at least 1")
    assert len(faults) == 2


def test_missing_extra_says_what_to_install_and_survives_pickling():
    error = pickle.loads(pickle.dumps(errors.MissingExtraError("sympy", "symbolic")))
    assert str(error) == 'this needs sympy, which is not installed: pip install "perfmodel[symbolic]"'
    assert (error.package, error.extra) == ("sympy", "symbolic")
