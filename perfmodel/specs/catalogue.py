"""Looks specifications up by name: the user's own first, the bundled ones last.

Order: a path to a file, the folders in ``PERFMODEL_PATH``, the user's folder (``~/.config/perfmodel``), the
folders of installed packages (entry points of the group ``perfmodel.specs``), the bundled folders. A folder
may hold ``devices/``, ``links/``, ``systems/``, ``efficiency/`` and ``models/``, or the files directly.
"""

from __future__ import annotations

import os
import re
import warnings
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from perfmodel.errors import SpecError, near, unknown
from perfmodel.specs.reading import parse_yaml, read_spec
from perfmodel.specs.spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

__all__ = ["Catalogue", "bundled_folder", "kind_named", "registered"]

T = TypeVar("T", bound=Spec)

ENTRY_POINT_GROUP = "perfmodel.specs"
PATH_VARIABLE = "PERFMODEL_PATH"

_ALIASES = re.compile(r"^aliases:[ \t]*(?:\[[^\]]*\]|(?:\n[ \t]*-[^\n]*)+)", re.MULTILINE)
_SCHEMA_LINE = re.compile(r"#.*\$schema=.*?(\w+)\.json")


class Place(NamedTuple):
    """A folder with specifications of one kind."""

    folder: Path
    origin: str
    mixed: bool = False
    """The folder holds files of several kinds."""


class Catalogue(Generic[T]):
    """All specifications of one kind, wherever they lie.

    Parameters
    ----------
    kind : device, link, system, …; also the name of its JSON schema
    cls : what a file of this kind holds
    folder : its sub-folder in a folder of specifications
    bundled : its folder in the repository and in the installed package; by default inside ``hardware_specs``
    """

    def __init__(self, kind: str, cls: type[T], folder: str, bundled: str | None = None) -> None:
        self.kind = kind
        self.cls = cls
        self.folder = folder
        self.bundled = bundled or f"hardware_specs/{folder}"
        _CATALOGUES[kind] = self

    def load(self, name: str | os.PathLike[str]) -> T:
        """The specification of a name, an alias or a path to a YAML file.

        Parameters
        ----------
        name : id, alias or path; case, spaces and underscores do not matter in a name

        Raises
        ------
        UnknownNameError
            no such specification; near names are suggested
        SpecError
            the file can't be read, or is of another kind
        """
        if isinstance(name, os.PathLike) or name.endswith((".yaml", ".yml")):
            path = Path(name).expanduser()
            other = kind_named(path)
            if other not in (None, self.kind):
                raise SpecError(f"{path}: its first line names the schema {other}, not {self.kind}")
            return self._read(path)
        return self._read(self._find(name))

    def names(self) -> dict[str, str]:
        """Every id and where it comes from; no file is parsed."""
        return {name: place.origin for name, (_, place) in sorted(self._files().items())}

    def suggest(self, name: str) -> list[str]:
        """The ids that look most like a name, best first."""
        return near(_normal(name), self._files())

    def _find(self, name: str) -> Path:
        wanted = _normal(name)
        for place in self._places():
            path = place.folder / f"{wanted}.yaml"
            if path.is_file() and self._holds(place, path):
                return path
        files = self._files()
        named = sorted(each for each, (path, _) in files.items() if wanted in _aliases(path, _stamp(path)))
        if len(named) == 1:
            return files[named[0]][0]
        if named:
            raise SpecError(f'the {self.kind} "{name}" is ambiguous; choose one of: {", ".join(named)}')
        raise unknown(self.kind, name, files, f"own ones are found in the folders of {PATH_VARIABLE}")

    def _read(self, path: Path) -> T:
        return _cached(path, _stamp(path), self.cls)  # type: ignore[return-value]

    def _files(self) -> dict[str, tuple[Path, Place]]:
        found: dict[str, tuple[Path, Place]] = {}
        for place in self._places():
            for path in place.folder.glob("*.yaml"):
                if path.stem not in found and self._holds(place, path):
                    found[path.stem] = (path, place)
        return found

    def _holds(self, place: Place, path: Path) -> bool:
        """Whether a file is of this kind; in a mixed folder its first line tells."""
        return not place.mixed or kind_named(path) in (None, self.kind)

    def _places(self) -> Iterator[Place]:
        for root, origin in _roots():
            yield Place(root / self.folder, origin)
            yield Place(root, origin, mixed=True)
        yield Place(bundled_folder(self.bundled), "bundled")


_CATALOGUES: dict[str, Catalogue[Any]] = {}


def kind_named(path: Path) -> str | None:
    """The kind of specification that a file's first line names; None where it names none.

    Parameters
    ----------
    path : of the file
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            named = _SCHEMA_LINE.search(file.readline())
    except OSError:  # told by whoever reads the rest
        return None
    return named[1] if named else None


def registered() -> dict[str, Catalogue[Any]]:
    """Every catalogue by its kind."""
    return dict(_CATALOGUES)


def _roots() -> Iterator[tuple[Path, str]]:
    """Folders of the user and of installed packages, with their origin, first come first served."""
    for folder in filter(None, os.environ.get(PATH_VARIABLE, "").split(os.pathsep)):
        yield Path(folder).expanduser(), folder
    user = _user_folder()
    yield user, str(user)
    yield from _plugins()


def _user_folder() -> Path:
    if os.name == "nt" and "APPDATA" in os.environ:
        return Path(os.environ["APPDATA"]) / "perfmodel"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "perfmodel"


@lru_cache(maxsize=1)
def _plugins() -> tuple[tuple[Path, str], ...]:
    """The folders that installed packages announce; a broken package costs a warning, not the look-up."""
    found = []
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            found.append((_folder_of(entry), f"entry point {entry.name}"))
        except Exception as error:
            warnings.warn(
                f'the entry point "{entry.name}" of {ENTRY_POINT_GROUP} is skipped: {error}', stacklevel=2
            )
    return tuple(found)


def _folder_of(entry: EntryPoint) -> Path:
    target = entry.load()
    if isinstance(target, ModuleType):
        return Path(next(iter(getattr(target, "__path__", ())), None) or Path(str(target.__file__)).parent)
    if isinstance(target, str | os.PathLike):
        return Path(target)
    raise SpecError(f"{entry.value} must be a folder or a package, not a {type(target).__name__}")


@lru_cache
def bundled_folder(folder: str) -> Path:
    """A folder of bundled data: inside an installed package, at the top of a repository.

    Parameters
    ----------
    folder : such as ``hardware_specs/devices``
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def _normal(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().casefold())


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    try:
        status = path.stat()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror}") from None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1024)
def _cached(path: Path, stamp: tuple[int, int], cls: type[Spec]) -> Spec:
    return read_spec(path, cls)


@lru_cache(maxsize=4096)
def _aliases(path: Path, stamp: tuple[int, int]) -> frozenset[str]:
    """The other names a file gives itself, without parsing the rest of it."""
    found = _ALIASES.search(path.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return frozenset()
    return frozenset(_normal(str(alias)) for alias in parse_yaml(found[0])["aliases"])
