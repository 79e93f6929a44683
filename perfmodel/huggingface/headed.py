"""Families that are not decoders: `architectures` decides what stands after their blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from perfmodel.decoder import Size
from perfmodel.huggingface.family import Family

__all__ = ["Headed", "Labelled"]


class Headed(Family):
    """A family of models with a choice of heads."""

    prefix: ClassVar[str]
    """How the names of its architectures begin."""
    heads: ClassVar[tuple[str, ...]]
    """How they end, those that are built; the first is what a config.json without `architectures` is read as."""
    flags: ClassVar[Mapping[str, str]] = {}
    """Keys that ask for what is not built, each with what that is."""

    architectures: tuple[str, ...] | None = None
    """Class of the model; decides which head it has."""

    @property
    def head(self) -> str:
        """The end of the architecture's name, such as `ForMaskedLM`."""
        return self.architectures[0].removeprefix(self.prefix) if self.architectures else self.heads[0]

    @classmethod
    def unbuilt(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each thing that a config.json asks for and that is not built.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        named = keys.get("architectures")
        known = [cls.prefix + head for head in cls.heads]
        for name in named[:1] if isinstance(named, list | tuple) else ():
            if isinstance(name, str) and name not in known:
                yield (
                    f"architectures = {name}: built are {', '.join(known)}; without this key the model is read as "
                    f"{known[0]}"
                )
        for key, what in cls.flags.items():
            if keys.get(key):
                yield f"{key} = {keys[key]!r}: {what} is not built yet"


class Labelled(Headed):
    """Those whose head tells classes apart."""

    num_labels: Size | None = None
    """Classes; none means as many as id2label names, else 2 [-]."""
    id2label: dict[Any, Any] | None = None
    """Names of the classes."""

    @property
    def labels(self) -> int:
        """Classes [-]."""
        return self.num_labels or len(self.id2label or {}) or 2

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        count, names = keys.get("num_labels"), keys.get("id2label")
        if isinstance(count, int) and isinstance(names, Mapping) and names and len(names) != count:
            yield f"num_labels = {count}, but id2label names {len(names)} classes"
