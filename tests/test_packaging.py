"""What a user installs is complete: the wheel carries the specs and the types, the sdist the rest of the project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SPECS = ["hardware_specs", "model_specs"]

pytestmark = pytest.mark.slow


def build(kind: str, folder: Path) -> Path:
    """Build with the environment's own hatchling: no isolation, so nothing is fetched."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    (built,) = folder.iterdir()
    return built


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def files_under(folder: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}


def source_files(folder: str) -> set[str]:
    return {name for name in files_under(folder) if "__pycache__" not in name and "/." not in name}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def test_wheel_carries_code_types_and_every_spec(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "perfmodel/py.typed" in names
    assert source_files("perfmodel") <= names
    for folder in SPECS:
        wanted = {f"perfmodel/{name}" for name in source_files(folder)}
        assert any(name.endswith(".yaml") for name in wanted), f"no specs in {folder}/"
        assert wanted <= names
    assert any(name.startswith("perfmodel/hardware_specs/devices/") for name in names)


def test_wheel_carries_nothing_else(wheel: Path):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"perfmodel", f"perfmodel-{project()['version']}.dist-info"}


def test_wheel_knows_its_script_and_licence(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    info = f"perfmodel-{project()['version']}.dist-info"
    assert "perfmodel = perfmodel.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    assert f"{info}/licenses/LICENSE" in archive.namelist()


def test_an_installed_wheel_finds_its_specs(wheel: Path, tmp_path: Path):
    """Away from the checkout, the bundled devices and models answer."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import perfmodel as pm; "
        f"assert pm.__file__.startswith({str(tmp_path)!r}), pm.__file__; "
        "assert len(pm.devices()) > 0 and len(pm.models()) > 0; "
        "pm.Device.load(next(iter(pm.devices())))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_sdist_carries_the_whole_project(tmp_path: Path):
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    for folder in ["perfmodel", *SPECS, "tests", "docs", "notebooks"]:
        assert source_files(folder) <= names
    assert {"pyproject.toml", "Makefile", "README.md", "LICENSE", "CHANGELOG.md"} <= names


def test_the_version_is_told_once():
    """CITATION.cff repeats the version for the readers of papers; the changelog begins with what is unreleased."""
    version = project()["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1].strip('"') == version
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_all_means_every_optional_package():
    extras = project()["optional-dependencies"]
    (everything,) = extras["all"]
    named = set(re.search(r"\[(.+)\]", everything)[1].split(","))
    assert named == set(extras) - {"all", "notebook", "dev", "oracles"}
