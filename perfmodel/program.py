"""A calculation written down once as a straight line of operations, then run on any numbers.

Formulas run once on numbers that note what is done with them. What is written down is what the wanted results need and
no more: equal operations are one, and what does not depend on an input is a constant. The same operations are done in
the same order as before, so every result is the same to the last bit, on a float, an array or a symbol.

>>> program = Program.of(lambda a, b: {"whole": a + b, "share": a / (b + a), "none": a / (a + b)}, ("a", "b"))
>>> program(a=1.0, b=3.0)
{'whole': 4.0, 'share': 0.25, 'none': 0.25}
>>> print(program.only("whole", "none").source)
def program(a, b):
    v0 = a + b
    v1 = a / v0
    return (v0, v1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import numpy as np

from perfmodel import ops
from perfmodel.errors import InputError

__all__ = ["BLOCK", "BranchError", "Noted", "Program"]

BLOCK = 8192
"""Rows that are run at once: some hundred columns of so many numbers stay in a processor's second cache [-]."""

INFIX = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "and": "&", "or": "|",
}  # fmt: skip
"""Operators between two numbers."""
PREFIX = {"neg": "-", "invert": "~"}
"""Operators before one."""
FUNCTIONS = (*ops.OPERATIONS, "greater", "at_least")
"""Functions of `perfmodel.ops`."""


class BranchError(InputError):
    """What a calculation does depends on a number: it is no straight line."""


class Line(NamedTuple):
    """One operation.

    Parameters
    ----------
    operation : of `INFIX`, `PREFIX` or `FUNCTIONS`
    operands : places of earlier lines, or names of inputs and constants
    """

    operation: str
    operands: tuple[int | str, ...]


class Notes:
    """Lines as they are written down, and the constants that they use."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.constants: dict[str, Any] = {}
        self._known: dict[Line, Noted] = {}
        self._names: dict[tuple[type, Any], str] = {}

    def note(self, operation: str, *values: Any) -> Noted:
        """The number that an operation makes; of equal operations, the first one's."""
        line = Line(operation, tuple([self.place(value) for value in values]))
        known = self._known.get(line)
        if known is None:
            known = self._known[line] = Noted(self, len(self.lines))
            self.lines.append(line)
        return known

    def place(self, value: Any) -> int | str:
        """Where a number stands: in a line, or among the constants."""
        if type(value) is Noted:
            return value.place
        # floats by their text, so that 0.0 and -0.0 are two
        key = (type(value), repr(value) if isinstance(value, int | float | str) else id(value))
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"k{len(self.constants)}"
            self.constants[name] = value
        return name


class Noted:
    """A number that notes what is done with it.

    Parameters
    ----------
    notes : where
    place : its line, or the name of an input
    """

    __slots__ = ("notes", "place")
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, notes: Notes, place: int | str) -> None:
        self.notes, self.place = notes, place

    def _refused(self, *_: Any) -> NoReturn:
        raise BranchError("a program has no branches, and here a number decides what is done")

    __bool__ = __int__ = __float__ = __index__ = __round__ = __len__ = __iter__ = _refused


def _binary(operation: str) -> tuple[Callable[[Noted, Any], Noted], Callable[[Noted, Any], Noted]]:
    return (
        lambda self, other: self.notes.note(operation, self, other),
        lambda self, other: self.notes.note(operation, other, self),
    )


def _unary(operation: str) -> Callable[[Noted], Noted]:
    return lambda self: self.notes.note(operation, self)


def _function(operation: str) -> Callable[..., Noted]:
    def noted(*values: Any) -> Noted:
        notes = next(value.notes for value in values if type(value) is Noted)
        return notes.note(operation, *values)

    return noted


for _name in INFIX:
    _forth, _back = _binary(_name)
    setattr(Noted, f"__{_name}__", _forth)
    if _name not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Noted, f"__r{_name}__", _back)
for _name in PREFIX:
    setattr(Noted, f"__{_name}__", _unary(_name))
ops.register(Noted, ops.Backend("noted", 15, {name: _function(name) for name in FUNCTIONS}))


@dataclass(frozen=True)
class Program:
    """A straight line of operations.

    Parameters
    ----------
    inputs : names of what it is run on
    lines : in order
    constants : by name
    results : what each result is, by its name: a line, an input or a constant
    """

    inputs: tuple[str, ...]
    lines: tuple[Line, ...]
    constants: Mapping[str, Any]
    results: Mapping[Any, int | str]

    @classmethod
    def of(cls, calculation: Callable[..., Mapping[Any, Any]], inputs: Iterable[str]) -> Program:
        """Write a calculation down.

        Parameters
        ----------
        calculation : takes the inputs by name and gives results by name; it must not branch on an input
        inputs : their names

        Returns
        -------
        the program

        Raises
        ------
        BranchError
            it branches on an input

        Examples
        --------
        >>> Program.of(lambda tp: {"share": 8192 / tp}, ["tp"])(tp=np.array([1.0, 2.0]))
        {'share': array([8192., 4096.])}
        """
        notes, names = Notes(), tuple(inputs)
        found = calculation(**{name: Noted(notes, name) for name in names})
        results = {name: notes.place(value) for name, value in found.items()}
        return cls(names, tuple(notes.lines), notes.constants, results)._shortest()

    def only(self, *results: Any) -> Program:
        """The same with fewer results, and only what these need.

        Parameters
        ----------
        results : names of those that stay
        """
        return replace(self, results={name: self.results[name] for name in results})._shortest()

    def _shortest(self) -> Program:
        """Without lines that no result needs."""
        needed = set(self.results.values())
        for place in range(len(self.lines) - 1, -1, -1):
            if place in needed:
                needed.update(self.lines[place].operands)
        kept = [place for place in range(len(self.lines)) if place in needed]
        moved: dict[int | str, int] = {old: new for new, old in enumerate(kept)}
        lines = (
            Line(operation, tuple([moved.get(one, one) for one in operands]))
            for operation, operands in (self.lines[place] for place in kept)
        )
        return Program(
            self.inputs,
            tuple(lines),
            {name: value for name, value in self.constants.items() if name in needed},
            {name: moved.get(place, place) for name, place in self.results.items()},
        )

    @property
    def source(self) -> str:
        """The program as Python has it; a variable is used again once nothing needs what it holds."""
        last = {one: place for place, line in enumerate(self.lines) for one in line.operands}
        last |= dict.fromkeys(self.results.values(), len(self.lines))
        held: dict[int | str, str] = {}
        free: list[str] = []
        text = [f"def program({', '.join(self.inputs)}):"]
        made = 0
        for place, (operation, operands) in enumerate(self.lines):
            names = [held.get(one, one) for one in operands]
            free += [held.pop(one) for one in dict.fromkeys(operands) if last[one] == place and one in held]
            if not free:
                free, made = [f"v{made}"], made + 1
            held[place] = free.pop()
            text.append(f"    {held[place]} = {_told(operation, names)}")
        found = "".join(f"{held.get(one, one)}, " for one in self.results.values())
        return "\n".join([*text, f"    return ({found[:-1] if len(self.results) == 1 else found[:-2]})", ""])

    @cached_property
    def _run(self) -> Callable[..., Sequence[Any]]:
        known: dict[str, Any] = {name: getattr(ops, name) for name in FUNCTIONS} | dict(self.constants)
        exec(compile(self.source, "<program>", "exec"), known)
        run: Callable[..., Sequence[Any]] = known["program"]
        return run

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process: not the code, which is made there anew."""
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    def __call__(self, **numbers: Any) -> dict[Any, Any]:
        """Run it.

        Parameters
        ----------
        numbers : every input by name: floats, arrays that broadcast against each other, symbols

        Returns
        -------
        results by name; one that depends on no array is no array
        """
        return dict(zip(self.results, self._run(**numbers), strict=True))

    def rows(self, columns: Mapping[str, Any], block: int = BLOCK) -> dict[str, Any]:
        """Run it on columns of one length, so many rows at once.

        Parameters
        ----------
        columns : every input by name, a column or one number for all rows
        block : rows at once [-]

        Returns
        -------
        results by name, whole columns

        Examples
        --------
        >>> Program.of(lambda tp: {"share": 8 / tp}, ["tp"]).rows({"tp": np.array([1.0, 2.0, 4.0])}, block=2)
        {'share': array([8., 4., 2.])}
        """
        length = max((len(column) for column in columns.values() if np.ndim(column)), default=1)
        found: dict[str, Any] = {}
        for start in range(0, length, block):
            here = slice(start, start + block)
            part = self(**{name: one[here] if np.ndim(one) else one for name, one in columns.items()})
            for name, value in part.items():
                if name not in found:
                    found[name] = np.empty(length, dtype=np.asarray(value).dtype)
                found[name][here] = value
        return found


def _told(operation: str, operands: Sequence[int | str]) -> str:
    if operation in INFIX:
        return f"{operands[0]} {INFIX[operation]} {operands[1]}"
    if operation in PREFIX:
        return f"{PREFIX[operation]}{operands[0]}"
    return f"{operation}({', '.join(map(str, operands))})"
