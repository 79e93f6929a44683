"""The way of a pass through a model: which layer runs when, how often, and what it sees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, Self

from perfmodel.errors import Faults, unknown
from perfmodel.layers.base import Layer, Pass

__all__ = ["Entrance", "Step", "Stretch", "Walked", "stretches", "walk"]


class Repeated(Protocol):
    """Layers that follow each other, so many times over."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """In order."""

    @property
    def repeat(self) -> int:
        """Times over [-]."""

    @property
    def copies(self) -> int:
        """How many times its weights stand in the model [-]."""


class Walked(Protocol):
    """What a model shows of itself to those who walk through it."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def entry(self) -> tuple[Layer, ...]:
        """Before the blocks."""

    @property
    def blocks(self) -> tuple[Repeated, ...]:
        """The repeated part."""

    @property
    def exit(self) -> tuple[Layer, ...]:
        """After the blocks."""

    @property
    def source(self) -> Self | None:
        """What reads something else first."""

    @property
    def input(self) -> str:
        """What the first layer sees: tokens, image or signal."""

    @property
    def extent(self) -> tuple[int, ...]:
        """Size of the images or signals it was made for [-]."""

    @property
    def fixed_length(self) -> int | None:
        """Positions of every input, where they are fixed [-]."""

    def attending(self, attention: Any) -> Self:
        """The same with no more masks than a way of counting credits."""


class Step(NamedTuple):
    """One layer on the way.

    Parameters
    ----------
    label : a name of its own: `entry.embedding`, `blocks.0.norm.2`, `source.blocks.0.mlp`
    layer : what runs
    times : how often it runs [-]
    seen : the pass as it sees it
    """

    label: str
    layer: Layer
    times: int
    seen: Pass


class Stretch(NamedTuple):
    """Layers that follow each other on the way, the whole so many times over.

    Parameters
    ----------
    place : entry, blocks.0, … or exit; those of the source say so: source.entry, …
    layers : each with the pass that it sees
    repeat : how often they run [-]
    copies : how often their weights stand in the model [-]
    after : the pass that leaves the last of them
    """

    place: str
    layers: tuple[tuple[Layer, Pass], ...]
    repeat: int
    copies: int
    after: Pass


def stretches(model: Walked, p: Pass) -> Iterator[Stretch]:
    """Entry, blocks and exit in the order of work: the source's first, then the model's own.

    Parameters
    ----------
    model : what is run
    p : the pass as the model's first layer sees it; `p.source` and `p.extent` are what enters its source

    Returns
    -------
    the stretches
    """
    if model.source is not None:
        inner = p.of_length(p.source)._replace(source=0)
        for stretch in () if p.source_cached else stretches(model.source, inner):
            inner = stretch.after
            yield stretch._replace(place=f"source.{stretch.place}")
        p = p._replace(source=inner.queries, extent=inner.extent)
    groups = [("entry", model.entry, 1, 1)]
    groups += [
        (f"blocks.{i}", block.layers, block.repeat, block.copies) for i, block in enumerate(model.blocks)
    ]
    for place, layers, repeat, copies in (*groups, ("exit", model.exit, 1, 1)):
        seen = []
        for layer in layers:
            seen.append((layer, p))
            p = layer.after(p)
        yield Stretch(place, tuple(seen), repeat, copies, p)


def walk(model: Walked, p: Pass) -> Iterator[Step]:
    """Every layer in the order of work: the source's first, then the model's own.

    Parameters
    ----------
    model : what is run
    p : the pass as the model's first layer sees it; `p.source` and `p.extent` are what enters its source

    Returns
    -------
    the steps
    """
    for place, layers, times, _, _ in stretches(model, p):
        known: dict[str, int] = {}
        for layer, seen in layers:
            known[layer.label] = count = known.get(layer.label, 0) + 1
            yield Step(f"{place}.{layer.label}" + (f".{count}" if count > 1 else ""), layer, times, seen)


class Entrance(NamedTuple):
    """What enters a model besides the tokens of its own sequence.

    Parameters
    ----------
    source_length : tokens, or frames of a signal, of the sequence that an encoder reads [-]
    image_size : side of a square image, or its height and width [-]
    samples : of a signal [-]
    """

    source_length: int | None = None
    image_size: int | tuple[int, int] | None = None
    samples: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Entrance:
        """What is given by name.

        Parameters
        ----------
        given : values by the names of this tuple

        Raises
        ------
        UnknownNameError
            a name is none of them
        """
        for name in given:
            if name not in cls._fields:
                raise unknown("what enters", name, cls._fields)
        return cls(**given)

    def opened(self, model: Walked, p: Pass, *, length: int | None) -> Pass:
        """The pass with everything that enters the model.

        Parameters
        ----------
        model : what is run
        p : the pass of its own sequence
        length : tokens of that sequence where they are given [-]

        Returns
        -------
        the pass

        Raises
        ------
        InputError
            the model does not take what is given
        """
        faults = Faults(f"model {model.name!r}")
        for fault in self._faults(model, length):
            faults.add(fault)
        faults.raise_if_any()
        extent = self._extent(model)
        if model.source is None:
            return p.of_extent(*extent) if extent else p
        source = math.prod(extent) if extent else self.source_length or p.queries
        return p._replace(source=source, extent=extent)

    def _extent(self, model: Walked) -> tuple[Any, ...]:
        reads = model.source or model
        if reads.input == "tokens":
            return ()
        if reads.input == "image":
            size = self.image_size
            return reads.extent if size is None else size if isinstance(size, tuple) else (size, size)
        length = self.samples if model.source is None else self.source_length
        return reads.extent if length is None else (length,)

    def _faults(self, model: Walked, length: int | None) -> Iterator[str]:
        kind = (model.source or model).input
        own = model.input if model.source is None else "tokens"
        if own != "tokens" and length is not None:
            yield f"sequence_length = {length}, but its length follows from {_NAMES[own]}"
        wanted = {
            "source_length": model.source is not None and kind != "image",
            "image_size": kind == "image",
            "samples": own == "signal",
        }
        takes = " and ".join(name for name, does in wanted.items() if does) or "none of them"
        for name, value in self._asdict().items():
            sizes = value if isinstance(value, tuple) else (value,)
            if value is None:
                continue
            if not wanted[name]:
                yield f"{name} = {value}, which it does not take; it takes {takes}"
            elif not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes):
                yield f"{name} = {value!r} must be a whole number of at least 1"


_NAMES = {"image": "image_size", "signal": "samples"}
