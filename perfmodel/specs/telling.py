"""Turns what pydantic found into one list of faults that a person can act on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from perfmodel.errors import Faults, InputError, near, unknown
from perfmodel.specs.describing import field_docs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

__all__ = ["Location", "told"]

Location = tuple[int | str, ...]
"""Path to a value: field names and positions."""

_UNION_TAGS = re.compile(r"float|int|str|bool|.*\[.*\]")


def told(
    error: ValidationError,
    cls: type[BaseModel],
    subject: object = None,
    line: Callable[[Location], str] = lambda location: "",
) -> Faults:
    """Every fault of a validation, in the words of the user.

    Parameters
    ----------
    error : as pydantic raised it
    cls : the specification that was to be built
    subject : what is at fault, beside the class
    line : says where in a file a location is, such as "line 12: "
    """
    faults = Faults(f'{cls.__name__} "{subject}"' if subject else cls.__name__)
    for detail in error.errors(include_url=False):
        for fault in _faults(detail, cls):
            faults.add(line(detail["loc"]) + fault)
    return faults


def _faults(detail: ErrorDetails, cls: type[BaseModel]) -> Iterator[str]:
    """One of pydantic's findings; a validator of ours may have told several faults in it."""
    path, given = _path(detail["loc"]), detail["input"]
    opening = f"{path}: " if path else ""
    cause = detail.get("ctx", {}).get("error")
    if detail["type"] == "extra_forbidden":
        *outer, field = detail["loc"]
        inside = f"{_path(tuple(outer))}: " if outer else ""
        yield f"{inside}{unknown('field', str(field), _fields(cls, detail['loc']))}"
    elif detail["type"] == "missing":
        description = _description(cls, detail["loc"])
        yield f"{path} is missing" + (f": {description}" if description else "")
    elif isinstance(cause, InputError) and cause.faults:
        yield from (opening + fault for fault in cause.faults)
    elif cause is not None:
        yield f"{opening}{cause}"
    else:
        yield f"{path or cls.__name__} {_rule(detail)}, not {_short(given)}{_meant(detail)}"


def _rule(detail: ErrorDetails) -> str:
    message = detail["msg"].replace("Input should be", "must be").replace("Input should", "must")
    return message[:1].lower() + message[1:]


def _meant(detail: ErrorDetails) -> str:
    """The nearest of the valid choices, where there is a list of them."""
    choices = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
    alike = near(str(detail["input"]), choices, n=1)
    return f"; did you mean '{alike[0]}'?" if alike else ""


def _short(value: object, width: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def _path(location: Location) -> str:
    """A location as one writes it: ``tiers[0].size``."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not _UNION_TAGS.fullmatch(step):
            path += f".{step}" if path else step
    return path


def _owner(cls: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """The model that holds the last step of a location."""
    for step in location[:-1]:
        field = cls.model_fields.get(str(step))
        if field is not None:
            inner = next(_models(field.annotation), None)
            if inner is None:
                return None
            cls = inner
    return cls


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _fields(cls: type[BaseModel], location: Location) -> list[str]:
    owner = _owner(cls, location)
    return list(owner.model_fields) if owner else []


def _description(cls: type[BaseModel], location: Location) -> str:
    owner = _owner(cls, location)
    return field_docs(owner).get(str(location[-1]), "") if owner else ""
