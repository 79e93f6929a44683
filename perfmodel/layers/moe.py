"""Mixture of experts: a router, experts of which each token uses a few, and shared ones that every token uses."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Self

from pydantic import model_validator

from perfmodel.errors import InputError
from perfmodel.layers.base import (
    Layer,
    Pass,
    Weight,
    linear_backward,
    linear_forward,
    stream,
)
from perfmodel.layers.dispatch import entering, leaving, routed_tokens, sent
from perfmodel.layers.kept import activation_tensors
from perfmodel.layers.mlp import Mlp
from perfmodel.layers.pointwise import activation, operators
from perfmodel.layers.results import Result
from perfmodel.ops import greater, maximum, minimum, where
from perfmodel.work import Collective, Matmul, Overlap, Repeat, Serial, Stream, Work

__all__ = ["MixtureOfExperts", "experts_hit"]


def experts_hit(experts: int, top_k: int, tokens: Any) -> Any:
    r"""Experts that at least one of some tokens is sent to, where each is as likely as any other.

    .. math:: E \left( 1 - \left( 1 - \frac{k}{E} \right)^T \right) = E \left( 1 - e^{-a} \right)

    with :math:`a = -T \ln (1 - k / E) \approx 2 T k / (2 E - k)`, and the exponential as one over its first five terms,
    so that exact numbers stay exact; within 1.5 % of E.

    Parameters
    ----------
    experts : of the layer [-]
    top_k : experts a token uses [-]
    tokens : routed together [-]

    Returns
    -------
    experts with work [-]

    Examples
    --------
    >>> round(experts_hit(256, 8, 1.0), 1), round(experts_hit(256, 8, 32.0)), round(experts_hit(256, 8, 1e4))
    (8, 163, 256)
    """
    a = tokens * 2 * top_k / (2 * experts - top_k)
    growth = 1 + a * (1 + a / 2 * (1 + a / 3 * (1 + a / 4)))
    return minimum(maximum(experts - experts / growth, top_k), experts)


class MixtureOfExperts(Layer):
    """Experts in place of one feed-forward block. Columns are split over tp, whole routed experts over ep.

    The ep ranks have tokens of their own; two all-to-all messages bring each token to its experts and back. The pass
    says how many ranks share the columns of a routed expert, and how much more the busiest rank has to do than the
    mean.

    Examples
    --------
    >>> mixtral = MixtureOfExperts(hidden=4096, inner=14336, experts=8, top_k=2)
    >>> sum(weight.size for weight in mixtral.weights()), int(sum(w.size * w.active for w in mixtral.weights()))
    (1409318912, 352354304)
    """

    hidden: int
    """Model width [-]."""
    inner: int
    """Inner width of one routed expert [-]."""
    experts: int
    """Routed experts [-]."""
    top_k: int
    """Routed experts that one token uses [-]."""
    gated: bool = True
    """Experts have a second up-projection that gates the first (SwiGLU and kin)."""
    activation: str = "silu"
    """Name of the non-linearity; its cost is that of streaming its operands."""
    expert_bias: bool = False
    """Both projections of each routed expert have a bias."""
    router_bias: bool = False
    """The router has a learned bias (one that only balances the load is no parameter)."""
    shared_inner: int = 0
    """Inner width of all shared experts together; 0 is none [-]."""
    shared_bias: bool = False
    """The projections of the shared experts have a bias."""
    shared_gate: bool = False
    """One learned gate a token scales what the shared experts say."""
    latent: int | None = None
    """Width that routed experts read and write, where projections take it from the model's and back [-]."""
    latent_bias: bool = False
    """Those two projections have a bias."""

    @model_validator(mode="after")
    def _enough_experts(self) -> Self:
        if not 1 <= self.top_k <= self.experts:
            raise InputError(f"top_k = {self.top_k} must lie between 1 and the {self.experts} experts")
        return self

    @property
    def width(self) -> int:
        """What a routed expert reads and writes [-]."""
        return self.latent or self.hidden

    @property
    def up_width(self) -> int:
        """Outputs of a routed expert's first projection [-]."""
        return self.inner * (2 if self.gated else 1)

    @property
    def shared(self) -> Mlp | None:
        """All shared experts as one feed-forward block."""
        if not self.shared_inner:
            return None
        fields = {"gated": self.gated, "bias": self.shared_bias, "activation": self.activation}
        return Mlp(hidden=self.hidden, inner=self.shared_inner, **fields)

    def weights(self) -> tuple[Weight, ...]:
        """Router, routed experts, and what the variant adds."""
        used = Fraction(self.top_k, self.experts)
        named = [
            Weight("router", (self.hidden, self.experts), split=None),
            Weight("experts up", (self.experts, self.width, self.up_width), "matrix", "ep", used),
            Weight("experts down", (self.experts, self.inner, self.width), "matrix", "ep", used),
        ]
        if self.router_bias:
            named.append(Weight("router bias", (self.experts,), "bias", None))
        if self.expert_bias:
            named.append(Weight("experts up bias", (self.experts, self.up_width), "bias", "ep", used))
            named.append(Weight("experts down bias", (self.experts, self.width), "bias", "ep", used))
        if self.shared is not None:
            named += [weight._replace(name=f"shared {weight.name}") for weight in self.shared.weights()]
        if self.shared_gate:
            named.append(Weight("shared gate", (self.hidden, 1), split=None))
        return (*named, *self._latent_weights())

    def _latent_weights(self) -> tuple[Weight, ...]:
        if self.latent is None:
            return ()
        into = Weight("latent in", (self.hidden, self.latent), split=None)
        out = Weight("latent out", (self.latent, self.hidden), split=None)
        if not self.latent_bias:
            return (into, out)
        biases = (("latent in bias", self.latent), ("latent out bias", self.hidden))
        return (into, out, *(Weight(name, (width,), "bias", None) for name, width in biases))

    def tensor_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole columns on every rank."""
        shared = (("shared expert columns", self.shared_inner),) if self.shared_inner else ()
        return (*self.expert_limits(), *shared)

    def expert_limits(self) -> tuple[tuple[str, int], ...]:
        """Whole columns of a routed expert on every rank."""
        return (("expert columns", self.inner),)

    def _linear(self, name: str, p: Pass, shape: dict[str, Any]) -> Matmul:
        """A product of the routed experts, whose weights may be stored in fewer bits, and are unpacked on the way."""
        fewer = p._replace(products="own")
        if p.expert_bytes is not None:
            fewer = fewer._replace(weight_bytes=p.expert_bytes)
        return self.grouped(linear_forward(name, fewer, **shape), p)

    def grouped(self, product: Matmul, p: Pass) -> Matmul:
        """A product over all routed tokens, as one over the experts of this device.

        Parameters
        ----------
        product : with the routed tokens as its rows, or as its inner length where it is a weight's gradient
        p : the pass
        """
        hit = experts_hit(self.experts, self.top_k, routed_tokens(p) * p.ep) / p.ep
        each = self._rows(p) / hit
        return (
            product._replace(batch=hit, k=each) if product.accumulate else product._replace(batch=hit, m=each)
        )

    def _rows(self, p: Pass) -> Any:
        """Copies of tokens that the experts of the busiest rank work on [-]."""
        return routed_tokens(p) * self.top_k * p.expert_load

    def _up(self, p: Pass) -> dict[str, Any]:
        return {"tokens": self._rows(p), "inputs": self.width, "outputs": self.up_width / p.tp_in_experts}

    def _down(self, p: Pass) -> dict[str, Any]:
        return {"tokens": self._rows(p), "inputs": self.inner / p.tp_in_experts, "outputs": self.width}

    def _router(self, p: Pass) -> dict[str, Any]:
        return {"tokens": p.shard_tokens, "inputs": self.hidden, "outputs": self.experts}

    def _latent(self, p: Pass, *, back: bool) -> dict[str, Any]:
        ends = (self.width, self.hidden) if back else (self.hidden, self.width)
        return {"tokens": p.shard_tokens, "inputs": ends[0], "outputs": ends[1]}

    def _moved(self, name: str, p: Pass, *, backward: bool = False) -> Stream:
        """Rows put in the order of the experts, or back and summed: the routed copies and the tokens themselves."""
        rows = routed_tokens(p) + self._rows(p) * (2 if backward else 1)
        return stream(name, p, elements=rows * self.width, passes=1, kind="permute")

    def _sorted(self, name: str, p: Pass) -> tuple[Work, ...]:
        """What has come from other ranks is put in the order of this one's experts, or back.

        Tokens that are sent once are copied where they arrive, which is all the permutation that they need.
        """
        if p.deduplicated or p.replicated:
            return ()
        sort = stream(name, p, elements=self._rows(p) * self.width, passes=2, kind="permute")
        return (Repeat("copies from other ranks", where(greater(p.ep, 1), 1, 0), sort),)

    def _sent(self, name: str, p: Pass) -> Collective:
        return sent(name, p, width=self.width, copies=self.top_k)

    def _sends(self, p: Pass) -> tuple[Collective, ...]:
        """Tokens to their experts and back, unless every rank has them."""
        return () if p.replicated else (self._sent("ep dispatch", p), self._sent("ep combine", p))

    def _beside(self, p: Pass, sends: tuple[Collective, ...], shared: tuple[Work, ...]) -> tuple[Work, ...]:
        """Tokens on their way, hidden behind the shared experts where the pass says so."""
        if not (p.overlap_shared and shared):
            return sends
        both = Serial("dispatch and combine", sends)
        return (Overlap("ep messages beside shared experts", both, Serial("shared experts", shared)),)

    def _entering(self, p: Pass, *, backward: bool = False) -> tuple[Work, ...]:
        width = self.hidden if p.expert_tp is None else self.width
        return entering(p, width=width, copies=self.top_k, backward=backward)

    def _leaving(self, p: Pass, *, backward: bool = False) -> tuple[Work, ...]:
        width = self.hidden if p.expert_tp is None else self.width
        return leaving(p, width=width, copies=self.top_k, backward=backward)

    def forward(self, p: Pass) -> Work:
        """Route, dispatch, two grouped products around the activation, combine; shared experts beside them."""
        router = linear_forward("router", p.unquantised, **self._router(p))
        choose = stream(
            "top-k", p, elements=p.shard_tokens * self.experts, passes=4, kind="softmax", launches=2
        )
        up = self._linear("experts up", p, self._up(p))
        down = self._linear("experts down", p, self._down(p))
        acted = self._activated("expert activation", p, backward=False)
        into, out = (self._latent_forward(p, back=back) for back in (False, True))
        entry, leave = self._entering(p), self._leaving(p)
        order, back = self._sorted("sort by expert", p), self._sorted("sort back", p)
        routed = (self._moved("permute", p), *order, up, acted, down, *back)
        parts = (router, choose, *into, *entry, *routed, self._moved("unpermute", p), *out)
        shared, sends = self._shared_forward(p), self._sends(p)
        return Serial("experts", (*parts, *self._beside(p, sends, shared), *shared, *leave))

    def _activated(self, name: str, p: Pass, *, backward: bool) -> Work:
        crossings = activation(p.kernels, self.activation, gated=self.gated)
        inner = self._rows(p) * self.inner / p.tp_in_experts
        return operators(name, p, crossings, elements=inner, kind="activation", backward=backward)

    def _latent_forward(self, p: Pass, *, back: bool) -> tuple[Work, ...]:
        if self.latent is None:
            return ()
        name = "latent out" if back else "latent in"
        return (linear_forward(name, p, **self._latent(p, back=back)),)

    def _latent_backward(self, p: Pass, *, back: bool) -> tuple[Work, ...]:
        if self.latent is None:
            return ()
        name = "latent out" if back else "latent in"
        return linear_backward(name, p, **self._latent(p, back=back))

    def _shared_forward(self, p: Pass) -> tuple[Work, ...]:
        if self.shared is None:
            return ()
        gate = linear_forward("shared gate", p, tokens=p.tokens, inputs=self.hidden, outputs=1)
        scale = stream("scale shared", p, elements=p.tokens * self.hidden, passes=2, kind="activation")
        add = stream("add shared", p, elements=p.tokens * self.hidden, passes=3, kind="residual")
        alone = self._shared_alone(p, self.shared.forward(p._replace(overlap_tensor=False)))
        return (alone, *((gate, scale) if self.shared_gate else ()), add)

    def _shared_alone(self, p: Pass, work: Work) -> Work:
        """Shared experts share the messages of routed ones, where those are split over the same ranks."""
        return _without_messages(work) if p.expert_tp is None or p.replicated else work

    def backward(self, p: Pass) -> Work:
        """The mirror of forward; each grouped product has two."""
        router = linear_backward("router", p.unquantised, **self._router(p))
        choose = stream("top-k backward", p, elements=p.shard_tokens * self.experts, passes=3, kind="softmax")
        up = (self.grouped(one, p) for one in linear_backward("experts up", p, **self._up(p)))
        down = (self.grouped(one, p) for one in linear_backward("experts down", p, **self._down(p)))
        acted = self._activated("expert activation backward", p, backward=True)
        into, out = (self._latent_backward(p, back=back) for back in (False, True))
        entry, leave = self._entering(p, backward=True), self._leaving(p, backward=True)
        ends = self._moved("unpermute backward", p, backward=True), self._moved("permute backward", p)
        order, back = self._sorted("sort back backward", p), self._sorted("sort by expert backward", p)
        routed = (*out, ends[0], *order, *down, acted, *up, *back, ends[1], *into)
        sends = (self._sent("ep combine backward", p), self._sent("ep dispatch backward", p))
        shared = self._shared_backward(p)
        parts = (*leave, *shared, *routed, *self._beside(p, sends, shared), *entry, choose, *router)
        return Serial("experts backward", parts)

    def _shared_backward(self, p: Pass) -> tuple[Work, ...]:
        if self.shared is None:
            return ()
        gate = linear_backward("shared gate", p, tokens=p.tokens, inputs=self.hidden, outputs=1)
        scale = stream(
            "scale shared backward", p, elements=p.tokens * self.hidden, passes=3, kind="activation"
        )
        alone = self._shared_alone(p, self.shared.backward(p._replace(overlap_tensor=False)))
        return (*((scale, *gate) if self.shared_gate else ()), alone)

    def saved(self, p: Pass) -> Any:
        """Input, 32-bit routing scores, and of every routed copy its input and what the activation keeps."""
        tensors = activation_tensors(p.kernels, self.activation, gated=self.gated)
        routed = self._rows(p) * (self.width + tensors * self.inner / p.tp_in_experts)
        shared = p.tokens * tensors * self.shared_inner / p.tp
        gate = p.tokens * self.hidden if self.shared_gate else 0
        latent = p.shard_tokens * self.latent if self.latent else 0
        kept = p.shard_tokens * self.hidden + routed + shared + gate + latent
        return kept * p.element_bytes + p.shard_tokens * self.experts * 4

    def results(self, p: Pass) -> dict[str, Result]:
        """Of the routed copies: gate and up projection, and what comes back from the experts."""
        up = self.grouped(linear_forward("experts up", p, **self._up(p)), p)
        down = self.grouped(linear_forward("experts down", p, **self._down(p)), p)
        inner = self._rows(p) * self.inner / p.tp_in_experts * p.element_bytes
        there = ("permute", "ep dispatch", "sort by expert", "expert tp all-gather")
        column = Result(up._replace(n=self.inner / p.tp_in_experts), inner, ("experts up", *there))
        sums = ("tp all-reduce", "tp reduce-scatter", "expert tp all-reduce", "expert tp reduce-scatter")
        back = ("experts down", "sort back", "ep combine", "unpermute", *sums, "tp all-gather tokens")
        out = p.shard_tokens * self.hidden * p.element_bytes
        return {
            **({"expert gate": column} if self.gated else {}),
            "expert up": column,
            "expert down": Result(down, out, back, False),
        }

    def parts(self, p: Pass) -> dict[str, tuple[Work, Any]]:
        """The experts' activation gives up all but the outputs of the first projection; shared experts give up all."""
        tensors = activation_tensors(p.kernels, self.activation, gated=self.gated)
        inner = self._rows(p) * self.inner / p.tp_in_experts
        kept = 2 if self.gated else 1
        acted = self._activated("expert activation", p, backward=False)
        found: dict[str, tuple[Work, Any]] = {
            "expert activation": (acted, inner * (tensors - kept) * p.element_bytes)
        }
        if self.shared is not None:
            beside = p.tokens * tensors * self.shared_inner / p.tp * p.element_bytes
            found["shared experts"] = (Serial("shared experts", self._shared_forward(p)), beside)
        return {**super().parts(p), **found}


def _without_messages(work: Work) -> Work:
    """The operators of a block alone: its messages are those of the layer around it."""
    parts = work.parts if isinstance(work, Serial) else (work,)
    return Serial("shared experts", tuple(part for part in parts if not isinstance(part, Collective)))
