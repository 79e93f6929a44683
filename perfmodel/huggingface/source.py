"""From what a user hands over (a path, a folder, a mapping) to the keys of one config.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from perfmodel.errors import InputError

__all__ = ["Config", "read_config"]

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class Config(NamedTuple):
    """The keys of a config.json and where they come from.

    Parameters
    ----------
    keys : the content
    place : path of the file; opens the messages of errors
    name : what the model is called, by its repository or its folder
    """

    keys: Mapping[str, Any]
    place: str
    name: str


def read_config(config: Any) -> Config:
    """The keys of a config.json.

    Parameters
    ----------
    config : path of the file, of the folder that holds it, the mapping itself, or what has it as `to_dict()`

    Returns
    -------
    the keys with their origin

    Raises
    ------
    InputError
        there is no such file, it is not JSON, or not a mapping
    """
    if isinstance(config, str | Path):
        return _read_file(Path(config).expanduser())
    keys = config.to_dict() if callable(getattr(config, "to_dict", None)) else config
    if not isinstance(keys, Mapping):
        raise InputError(f"config must be a path or a mapping, not {type(config).__name__}")
    return Config(keys, "config", _name(keys))


def _read_file(path: Path) -> Config:
    file = path / "config.json" if path.is_dir() else path
    keys = _parse(_text(file), file)
    if not isinstance(keys, Mapping):
        raise InputError(f"{file}: a config.json holds a mapping, not a {type(keys).__name__}")
    folder = file.resolve().parent.name if file.name == "config.json" else file.stem
    return Config(keys, str(file), _name(keys) or folder)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file{_hint(file)}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file}: cannot be read: it is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(file)!r} cannot be read: {getattr(error, 'strerror', error)}") from None


def _hint(file: Path) -> str:
    name = str(file)
    if not _HUB_ID.fullmatch(name):
        return ""
    return f"; nothing is fetched from the network: hf download {name} config.json --local-dir {file.name}"


def _parse(text: str, file: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at_end = "; the file ends too early" if error.pos >= len(text.rstrip()) else ""
        place = f"{file}, line {error.lineno}, column {error.colno}"
        raise InputError(f"{place}: this is not readable as JSON: {error.msg}{at_end}") from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"{file}: this is not readable as JSON: {error}") from None


def _name(keys: Mapping[str, Any]) -> str:
    given = keys.get("_name_or_path")
    return Path(given).name if isinstance(given, str) else ""
