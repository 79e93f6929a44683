"""Options in groups: a command takes a group as one argument, the command line sees its fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, get_type_hints

import typer

from perfmodel.errors import InputError

__all__ = ["Options", "grouped", "refuse"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that belong together: a frozen dataclass of annotated fields, each with its default."""

    typed: tuple[str, ...] = ()
    """Which of them stood in the command, as they are spelled there."""

    @classmethod
    def names(cls) -> list[str]:
        """Its options, by their fields' names."""
        return [field.name for field in fields(cls) if field.name != "typed"]

    def values(self, *names: str) -> dict[str, Any]:
        """Options by name.

        Parameters
        ----------
        names : of fields; none are all
        """
        return {name: getattr(self, name) for name in names or self.names()}


def refuse(where: str, *groups: Options) -> None:
    """Tell of options that mean nothing for what was asked.

    Parameters
    ----------
    where : they are not known
    groups : of such options

    Raises
    ------
    InputError
        some of them stood in the command
    """
    typed = [option for group in groups for option in group.typed]
    if typed:
        verb = "means" if len(typed) == 1 else "mean"
        raise InputError(f"{', '.join(typed)} {verb} nothing for {where}; leave that out")


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose parameters of a kind of `Options` stand on the command line as their fields.

    Parameters
    ----------
    command : as typer takes it, but for the groups
    """
    hints = get_type_hints(command, include_extras=True)
    given = inspect.signature(command).parameters.values()
    groups = {name: hint for name, hint in hints.items() if _is_group(hint)}

    @wraps(command)
    def run(context: typer.Context, **values: Any) -> Any:
        typed = {option.name: option.opts[0] for option in context.command.params if _stood(context, option)}
        filled = {}
        for name, group in groups.items():
            own = group.names()
            chosen = {one: values.pop(one) for one in own}
            filled[name] = group(**chosen, typed=tuple(typed[one] for one in own if one in typed))
        return command(**values, **filled)

    flat = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for parameter in given:
        if parameter.name in groups:
            flat += _parameters(groups[parameter.name])
        else:
            hint = hints[parameter.name]
            flat.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hint))
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in flat}
    return run


def _is_group(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Options)


def _stood(context: typer.Context, option: Any) -> bool:
    source = context.get_parameter_source(option.name)
    return source is not None and source.name == "COMMANDLINE"


def _parameters(group: type[Options]) -> Iterable[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        if field.name != "typed":
            yield inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[field.name],
            )
