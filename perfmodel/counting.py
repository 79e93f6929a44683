"""Exact operations of a model: of which pass, with which credit for masks, and told apart by layer or operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, Literal, NamedTuple, get_args

from perfmodel.errors import Faults, InputError, unknown
from perfmodel.layers import Head, Layer, Pass
from perfmodel.walk import Entrance, Walked, walk
from perfmodel.work import Leaf, Repeat, Serial, Work, flops, leaves, total

__all__ = ["AttentionCount", "Counting", "Logits", "Mode", "Per", "masked"]

Mode = Literal["forward", "training", "prefill", "decode"]
"""Which pass is counted."""
AttentionCount = Literal["windowed", "causal", "full"]
"""Which masks are credited: causal and window, causal alone, or none (as torch's counter and PaLM do)."""
Per = Literal["model", "layer", "operator", "kind"]
"""What has a number of its own: the model, each layer, each named operator, or each kind of operator."""
Logits = Literal["all", "last"]
"""Which positions of a prefill get logits: all of them (as torch computes them), or the last (as engines do)."""

WINDOWS: dict[str, Any] = {"window": None, "chunk": None}
"""Fields of layers that cut attention short, with their value for not doing so."""
USUAL_LENGTH = 2048
"""Tokens of a sequence, where neither the question nor the model says how many [-]."""


def masked(layer: Layer, attention: AttentionCount) -> Layer:
    """A layer without the masks that a way of counting gives no credit for.

    Parameters
    ----------
    layer : any; one that attends has the fields `causal`, `window` or `chunk`
    attention : which masks are credited

    Returns
    -------
    the layer, or its copy
    """
    lifted = {"windowed": {}, "causal": WINDOWS, "full": {**WINDOWS, "causal": False}}[attention]
    changes = {name: value for name, value in lifted.items() if name in type(layer).model_fields}
    return layer.model_copy(update=changes) if changes else layer


class Counting(NamedTuple):
    """A question about a model's operations.

    Parameters
    ----------
    mode : forward; training (forward and backward); prefill; or decode (one token a sequence against a cache)
    batch : sequences [-]
    sequence_length : tokens of each in this pass; None is 1 in decode, else what the model fixes, else 2048 [-]
    cached : tokens of each that an earlier pass has left in the cache [-]
    attention : which masks are credited
    logits : in prefill, the positions that get logits
    entrance : what enters besides these tokens
    """

    mode: Mode = "forward"
    batch: int = 1
    sequence_length: int | None = None
    cached: int = 0
    attention: AttentionCount = "windowed"
    logits: Logits = "all"
    entrance: Entrance = Entrance()

    def check(self) -> None:
        """Refuse a question that contradicts itself, all faults at once."""
        for kind, valid in (("mode", Mode), ("attention", AttentionCount), ("logits", Logits)):
            value = getattr(self, kind)
            if value not in get_args(valid):
                raise unknown(kind, str(value), get_args(valid))
        faults = Faults("FLOPs")
        for name, least in (("batch", 1), ("sequence_length", 1), ("cached", 0)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            if not whole and not (name == "sequence_length" and value is None):
                faults.add(f"{name} = {value!r} must be a whole number of at least {least}")
        for fault in self._contradictions():
            faults.add(fault)
        faults.raise_if_any()

    def _contradictions(self) -> Iterable[str]:
        if self.mode == "decode" and self.sequence_length not in (None, 1):
            yield (
                f"sequence_length = {self.sequence_length} in decode, which computes one token a sequence; "
                "the tokens before it are cached = …"
            )
        if self.mode in ("forward", "training") and self.cached:
            yield f"cached = {self.cached}, but a {self.mode} pass has no cache; valid: prefill, decode"

    def of(self, model: Walked, per: Per = "model") -> int | dict[str, int]:
        """The answer.

        Parameters
        ----------
        model : what is counted
        per : what has a number of its own

        Returns
        -------
        operations, two a multiply-add [FLOP]
        """
        self.check()
        if per not in get_args(Per):
            raise unknown("per", str(per), get_args(Per))
        # of a window the cache holds no more, so that no way of counting has one token look beyond it
        counted = (
            model if self.mode == "decode" and self.attention == "full" else model.attending(self.attention)
        )
        parts, spared = self._work(counted)
        if per == "model":
            return self._times(
                *(total(Serial("all", tuple(each.values())), flops) for each in (parts, spared))
            )
        if per == "layer":
            return {
                label: self._times(total(work, flops), total(spared[label], flops))
                for label, work in parts.items()
            }
        name = _name if per == "operator" else _kind
        forward, less = _by(parts.values(), name), _by(spared.values(), name)
        return {key: self._times(count, less.get(key, 0)) for key, count in forward.items()}

    def _times(self, forward: Any, spared: Any) -> int:
        """Forward once, or with two gradients a product but for those that nobody asks for."""
        return int(3 * forward - spared) if self.mode == "training" else int(forward)

    def _pass(self, model: Walked) -> Pass:
        # exact arithmetic: no float ever holds a count
        usual = 1 if self.mode == "decode" else model.fixed_length or USUAL_LENGTH
        queries, one = Fraction(self.sequence_length or usual), Fraction(1)
        keys = queries + self.cached if self.cached else queries
        p = Pass(Fraction(self.batch), queries, keys, one, one, source_cached=self.mode == "decode")
        opened = self.entrance.opened(model, p, length=self.sequence_length)
        exact = opened._replace(source=Fraction(opened.source), extent=tuple(map(Fraction, opened.extent)))
        return exact if opened.queries is queries else exact.of_length(Fraction(opened.queries))

    def _work(self, model: Walked) -> tuple[dict[str, Work], dict[str, Work]]:
        """Forward work of every layer by its label, and what backward spares."""
        p = self._pass(model)
        last = self.mode == "prefill" and self.logits == "last"
        parts: dict[str, Work] = {}
        spared: dict[str, Work] = {}
        for label, layer, times, p in walk(model, self._pass(model)):
            if any(size < 1 for size in layer.after(p).extent):
                raise InputError(
                    f"model {model.name!r}: what enters is too small, {label} leaves nothing of it"
                )
            first, later = (layer.spared(p, first=is_first) for is_first in (not parts, False))
            spared[label] = Serial(label, (first, Repeat(label, times - 1, later)))
            seen = p._replace(queries=Fraction(1)) if last and isinstance(layer, Head) else p
            parts[label] = Repeat(label, times, layer.forward(seen))
        return parts, spared


def _name(leaf: Leaf) -> str:
    return leaf.name


def _kind(leaf: Leaf) -> str:
    return type(leaf).__name__.casefold()


def _by(works: Iterable[Work], key: Callable[[Leaf], str]) -> dict[str, Any]:
    """Operations by a property of their operators; what computes nothing is left out."""
    work = Serial("all", tuple(works))

    def only(name: str) -> Callable[[Leaf], Any]:
        return lambda leaf: flops(leaf) if key(leaf) == name else 0

    return {
        name: total(work, only(name))
        for name in dict.fromkeys(key(leaf) for leaf in leaves(work) if flops(leaf))
    }
