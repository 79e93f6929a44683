"""Specs: frozen and closed, all faults at once, YAML with lines, look-up by name, schemas for the editor."""

import importlib
import json
import time
from importlib.metadata import EntryPoint
from typing import Literal

import jsonschema
import numpy as np
import pytest
from pydantic import Field, model_validator

from perfmodel.errors import Faults, InputError, SpecError, UnknownNameError
from perfmodel.specs import Catalogue, SourcedSpec, Spec, catalogue, read_yaml, schema
from perfmodel.units import Bytes, BytesPerSecond


class Store(Spec):
    """Where bytes are kept."""

    capacity: Bytes
    """Usable size [B]."""
    bandwidth: BytesPerSecond | None = None
    """One direction [B/s]."""


class Machine(SourcedSpec):
    """A machine for these tests."""

    aliases: tuple[str, ...] = ()
    """Other names."""
    cores: int = Field(ge=1)
    """How many [-]."""
    share: float = 0.5
    """A fraction [-]."""
    kind: Literal["gpu", "tpu"] = "gpu"
    """What it is."""
    store: Store
    """Its memory."""
    spare: tuple[Store, ...] = ()
    """Further memory."""

    @model_validator(mode="after")
    def _whole(self):
        faults = Faults("Machine")
        if self.cores == 13:
            faults.add("cores = 13 brings bad luck; nearest: 12")
            faults.add("cores = 13 is odd")
        faults.raise_if_any()
        return self


GOOD = {
    "id": "m1",
    "name": "M 1",
    "sources": ["a datasheet"],
    "confidence": "datasheet",
    "cores": 4,
    "store": {"capacity": "80 GiB"},
}


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """A catalogue whose own folders are all under tmp_path."""
    monkeypatch.setenv("PERFMODEL_PATH", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(catalogue, "_CATALOGUES", {})
    monkeypatch.setattr(catalogue, "_plugins", tuple)
    return Catalogue("machine", Machine, "machines", bundled="no_such_folder")


def write(path, text=None, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = GOOD | {"id": path.stem} | changes
    lines = [f"{key}: {json.dumps(value)}" for key, value in content.items()]
    path.write_text(text if text is not None else "\n".join(lines) + "\n")
    return path


# --- the base -------------------------------------------------------------------------------------------------


def test_a_spec_takes_units_lists_and_numpy_numbers():
    machine = Machine(**GOOD | {"cores": np.int64(4), "share": np.float32(0.25)})
    assert machine.store.capacity == 80 * 2**30
    assert machine.sources == ("a datasheet",)
    assert (type(machine.cores), type(machine.share)) == (int, float)
    assert hash(machine) == hash(Machine(**GOOD | {"share": 0.25}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cores": "4"}, "cores must be a valid integer, not '4'"),
        ({"cores": True}, "cores must be a valid integer, not True"),
        ({"cores": 4.0}, "cores must be a valid integer, not 4.0"),
        ({"cores": 0}, "cores must be greater than or equal to 1, not 0"),
        ({"share": "0.5"}, "share must be a valid number, not '0.5'"),
        ({"share": True}, "share must be a valid number, not True"),
        ({"kind": "gpus"}, "kind must be 'gpu' or 'tpu', not 'gpus'; did you mean 'gpu'?"),
        ({"kores": 4}, 'unknown field "kores"; did you mean cores?'),
        ({"sources": []}, "sources: a number needs a source: name the datasheet, paper or measurement"),
        ({"sources": [" "]}, "a number needs a source"),
        ({"id": "M 1"}, 'Machine "M 1": id should match pattern'.replace("should", "string should")),
        ({"store": {"capacity": "80 gb"}}, 'store.capacity: "80 gb": unknown unit "gb"; write "80 GB"'),
        ({"store": {"capacity": -1}}, "store.capacity: -1 is negative"),
        (
            {"store": {"capacity": 1, "bandwith": 2}},
            'store: unknown field "bandwith"; did you mean bandwidth? valid: bandwidth, capacity',
        ),
        ({"spare": [{"capacity": 1}, {}]}, "spare[1].capacity is missing: Usable size [B]."),
    ],
)
def test_one_fault_is_one_line_with_the_path_the_rule_and_the_value(changes, message):
    with pytest.raises(SpecError) as caught:
        Machine(**GOOD | changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_all_faults_are_told_at_once():
    with pytest.raises(SpecError) as caught:
        Machine(id="m1", name="M", confidence="datasheet", cores="4", stores=1)
    assert str(caught.value).splitlines() == [
        'Machine "m1" has 4 faults:',
        "  - sources is missing: Where the numbers come from (datasheet, paper, measurement), at least one: a number "
        "needs a source.",
        "  - cores must be a valid integer, not '4'",
        "  - store is missing: Its memory.",
        '  - unknown field "stores"; did you mean store? valid: aliases, confidence, cores, id, kind, name, notes, '
        "share, sources, spare, store, unverified",
    ]
    assert len(caught.value.faults) == 4


def test_faults_of_a_rule_over_several_fields_are_told_one_by_one():
    with pytest.raises(SpecError) as caught:
        Machine(**GOOD | {"cores": 13})
    assert caught.value.faults == ("cores = 13 brings bad luck; nearest: 12", "cores = 13 is odd")


def test_a_spec_without_a_source_is_an_input_error_of_its_own_kind():
    with pytest.raises(InputError) as caught:
        Store(capacity="x")
    assert not isinstance(caught.value, SpecError)


def test_frozen_and_changed_by_a_validated_copy():
    machine = Machine(**GOOD)
    with pytest.raises(InputError, match=r"Machine is frozen; a changed copy is \.replace\(cores=…\)"):
        machine.cores = 5
    changed = machine.replace(cores=5, store__bandwidth="2 TB/s")
    assert (machine.cores, changed.cores, changed.store.bandwidth) == (4, 5, 2e12)
    assert changed.store.capacity == machine.store.capacity
    both = machine.replace(store__capacity="4 GiB", store__bandwidth="2 TB/s").store
    assert (both.capacity, both.bandwidth) == (2**32, 2e12)
    with pytest.raises(SpecError, match="cores must be greater"):
        machine.replace(cores=0)
    with pytest.raises(SpecError, match='unknown field "core"; did you mean cores'):
        machine.replace(core=1)


def test_arguments_are_keyword_only():
    with pytest.raises(TypeError):
        Store(1.0)


def test_construction_is_cheap():
    rounds = 300

    def once():
        start = time.perf_counter()
        for _ in range(rounds):
            Machine(**GOOD)
        return (time.perf_counter() - start) / rounds

    assert min(once() for _ in range(5)) < 60e-6


# --- reading --------------------------------------------------------------------------------------------------


def test_yaml_is_read_by_the_rules_of_1_2(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "a: 1e9\nb: 12:30\nc: no\nd: true\ne:\nf: 2024-01-01\ng: 0x10\nh: -1.5e-3\ni: .5\nj: 010\nk: ~\n"
    )
    assert read_yaml(path) == {
        "a": 1e9,
        "b": "12:30",
        "c": "no",
        "d": True,
        "e": None,
        "f": "2024-01-01",
        "g": 16,
        "h": -1.5e-3,
        "i": 0.5,
        "j": "010",
        "k": None,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 'line 3: this is not readable as YAML: the key "a" is given twice'),
        ("a: {b: 1, b: 2}\n", 'line 1: this is not readable as YAML: the key "b" is given twice'),
        ("a: 1\nb: {c: 2,\n", "this is not readable as YAML: "),
        ("- a\n- b\n", 'a specification is a mapping ("field: value" lines); found a list'),
        ("", "found nothing"),
        ("a: !!python/object:os.system {}\n", "could not determine a constructor for the tag"),
    ],
)
def test_unreadable_yaml_names_the_file_and_the_line(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_yaml(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    with pytest.raises(SpecError, match="it is not UTF-8 text"):
        read_yaml(tmp_path / "latin.yaml")


def test_faults_in_a_file_name_the_line(tmp_path, machines):
    path = tmp_path / "m2.yaml"
    path.write_text(
        "id: m2\nname: M\nconfidence: datasheet\nsources:\n  - a datasheet\ncores: 4\n"
        "store:\n  capacity: 80 gb\nspare:\n  - capacity: 1\n    bandwith: 2\n"
    )
    with pytest.raises(SpecError) as caught:
        machines.load(path)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{path} has 2 faults:"
    assert rest[0].startswith('  - line 8: store.capacity: "80 gb": unknown unit')
    assert rest[1].startswith('  - line 11: spare[0]: unknown field "bandwith"; did you mean bandwidth?')


def test_truncated_file_is_one_error(tmp_path, machines):
    path = write(tmp_path / "m2.yaml")
    path.write_text(path.read_text()[:-30])
    with pytest.raises(SpecError, match=r"m2\.yaml: line 1: store is missing: Its memory\."):
        machines.load(path)


def test_the_file_is_named_like_the_id(tmp_path, machines):
    with pytest.raises(SpecError, match='the id is "other" but the file is named "m2"; make them equal'):
        machines.load(write(tmp_path / "m2.yaml", id="other"))


# --- look-up --------------------------------------------------------------------------------------------------


def test_look_up_order(tmp_path, machines, monkeypatch):
    folders = {name: tmp_path / name for name in ("first", "second", "plugin", "bundled")}
    user = tmp_path / "config" / "perfmodel"
    monkeypatch.setenv("PERFMODEL_PATH", f"{folders['first']}:{folders['second']}")
    monkeypatch.setattr(catalogue, "_plugins", lambda: ((folders["plugin"], "entry point acme"),))
    monkeypatch.setattr(catalogue, "bundled_folder", lambda folder: folders["bundled"])
    write(folders["bundled"] / "m1.yaml", cores=1)
    write(folders["bundled"] / "m2.yaml", cores=1)
    assert machines.load("m1").cores == 1
    for cores, path in (
        (2, folders["plugin"] / "machines"),
        (3, user / "machines"),
        (4, folders["second"]),
        (5, folders["first"] / "machines"),
    ):
        write(path / "m1.yaml", cores=cores)
        assert machines.load("m1").cores == cores
    explicit = write(tmp_path / "m1.yaml", cores=6)
    assert machines.load(explicit).cores == machines.load(str(explicit)).cores == 6
    assert machines.names() == {"m1": str(folders["first"]), "m2": "bundled"}


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path, machines):
    path = write(tmp_path / "m1.yaml")
    assert machines.load(path) is machines.load(path)
    write(path, cores=12)
    assert machines.load(path).cores == 12


def test_aliases_resolve_and_ambiguous_ones_are_refused(tmp_path, machines, monkeypatch):
    monkeypatch.setenv("PERFMODEL_PATH", str(tmp_path))
    write(tmp_path / "m1.yaml", aliases=["Em One", "em"])
    write(tmp_path / "m2.yaml", aliases=["em"])
    block = write(tmp_path / "m3.yaml")
    block.write_text("aliases:\n  - em-three # short\n  - m.3\n" + block.read_text())
    assert machines.load("em_one").id == "m1"
    assert machines.load("M 1".replace(" ", "")).id == "m1"
    assert machines.load("m.3").id == machines.load("Em Three").id == "m3"
    with pytest.raises(SpecError, match='the machine "em" is ambiguous; choose one of: m1, m2'):
        machines.load("em")


def test_unknown_name_is_answered_with_near_ones(tmp_path, machines, monkeypatch):
    monkeypatch.setenv("PERFMODEL_PATH", str(tmp_path))
    write(tmp_path / "big-machine.yaml")
    with pytest.raises(UnknownNameError) as caught:
        machines.load("big-machin")
    assert str(caught.value) == (
        'unknown machine "big-machin"; did you mean big-machine? valid: big-machine; '
        "own ones are found in the folders of PERFMODEL_PATH"
    )
    assert machines.suggest("big machin") == ["big-machine"]


def test_a_mixed_folder_is_sorted_by_the_schema_line(tmp_path, machines, monkeypatch):
    monkeypatch.setenv("PERFMODEL_PATH", str(tmp_path))
    write(tmp_path / "m1.yaml")
    other = write(tmp_path / "l1.yaml")
    other.write_text("# yaml-language-server: $schema=../schema/link.json\n" + other.read_text())
    assert list(machines.names()) == ["m1"]
    with pytest.raises(UnknownNameError):
        machines.load("l1")


def test_entry_points_resolve_to_folders(tmp_path, monkeypatch):
    package = tmp_path / "acme_specs"
    package.mkdir()
    (package / "__init__.py").write_text("FOLDER = '/data/specs'\nWRONG = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    found = [
        EntryPoint("package", "acme_specs", catalogue.ENTRY_POINT_GROUP),
        EntryPoint("folder", "acme_specs:FOLDER", catalogue.ENTRY_POINT_GROUP),
        EntryPoint("wrong", "acme_specs:WRONG", catalogue.ENTRY_POINT_GROUP),
        EntryPoint("missing", "no_such_package", catalogue.ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(catalogue, "entry_points", lambda group: found)
    catalogue._plugins.cache_clear()
    with pytest.warns(UserWarning, match="is skipped") as warned:
        plugins = catalogue._plugins()
    catalogue._plugins.cache_clear()
    assert [(str(folder), origin) for folder, origin in plugins] == [
        (str(package), "entry point package"),
        ("/data/specs", "entry point folder"),
    ]
    assert len(warned) == 2


def test_listing_parses_no_file(tmp_path, machines, monkeypatch):
    monkeypatch.setenv("PERFMODEL_PATH", str(tmp_path))
    write(tmp_path / "broken.yaml", text="{")
    assert list(machines.names()) == ["broken"]


# --- schemas --------------------------------------------------------------------------------------------------


def test_schema_is_draft_7_and_agrees_with_the_class(machines):
    (found,) = schema.schemas().values()
    jsonschema.Draft7Validator.check_schema(found)
    check = jsonschema.Draft7Validator(found)
    assert check.is_valid(GOOD)
    for changes in ({"cores": "4"}, {"store": {"capacity": "80 gb"}}, {"kores": 1}, {"kind": "gpus"}):
        assert not check.is_valid(GOOD | changes)
    text = json.dumps(found)
    assert "$defs" not in text
    assert "prefixItems" not in text
    assert found["properties"]["cores"]["description"] == "How many [-]."
    assert found["properties"]["store"] == {
        "allOf": [{"$ref": "#/definitions/Store"}],
        "description": "Its memory.",
    }


def test_schemas_are_written_one_file_a_kind(tmp_path, machines):
    (path,) = schema.write_schemas(tmp_path / "schema")
    assert path.name == "machine.json"
    assert json.loads(path.read_text()) == schema.schemas()["machine"]
