"""Number formats of inference: how weights, activations and cached keys and values are stored and computed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from perfmodel.errors import InputError, unknown

__all__ = ["CACHE_BITS", "PLAIN", "WEIGHTS", "Formats", "WeightFormat", "format_faults", "weight_format"]


class WeightFormat(NamedTuple):
    """How the weights of linear layers are stored.

    Parameters
    ----------
    bits : of a weight, scales and zero points included [-]
    computes : format that products take operands in where activations are quantised, too; None unpacks the weights on
        the way and computes in the activations' own format
    experts_only : only routed experts are stored so, all else in 16 bits
    current : activations are read for their largest value before they are quantised
    everything : the token table and the head are stored so, too
    blocks : scales go by blocks of the inner length, and products apply them on the way
    plain_latent : checkpoints leave the projections of latent attention (MLA) in 16 bits
    """

    bits: float
    computes: str | None = None
    experts_only: bool = False
    current: bool = False
    everything: bool = False
    blocks: bool = False
    plain_latent: bool = False


WEIGHTS = {
    "fp32": WeightFormat(32, "fp32"),
    "tf32": WeightFormat(32, "tf32"),
    "bf16": WeightFormat(16, "bf16"),
    "fp16": WeightFormat(16, "fp16"),
    "fp8": WeightFormat(8, "fp8"),
    "fp8_row": WeightFormat(8, "fp8", current=True),
    "fp8_block": WeightFormat(8 + 32 / 128**2, "fp8", blocks=True),
    "mxfp8": WeightFormat(8 + 8 / 32, "fp8"),
    "int8": WeightFormat(8, "int8"),
    "nvfp4": WeightFormat(4 + 8 / 16, "fp4", plain_latent=True),
    "mxfp4": WeightFormat(4 + 8 / 32, "fp4"),
    "nvfp4_moe": WeightFormat(4 + 8 / 16, "fp4", experts_only=True),
    "fp8_wo": WeightFormat(8),
    "int8_wo": WeightFormat(8),
    "int4_wo": WeightFormat(4 + 16 / 128),
    "nvfp4_wo": WeightFormat(4 + 8 / 16, plain_latent=True),
    "mxfp4_wo": WeightFormat(4 + 8 / 32),
    "mxfp4_moe": WeightFormat(4 + 8 / 32, experts_only=True),
    "gguf_q2_k": WeightFormat(3.35, everything=True),
    "gguf_q3_k_m": WeightFormat(3.91, everything=True),
    "gguf_q4_0": WeightFormat(4.5, everything=True),
    "gguf_q4_k_s": WeightFormat(4.58, everything=True),
    "gguf_q4_k_m": WeightFormat(4.85, everything=True),
    "gguf_q5_k_m": WeightFormat(5.68, everything=True),
    "gguf_q6_k": WeightFormat(6.56, everything=True),
    "gguf_q8_0": WeightFormat(8.5, everything=True),
}
"""Scales: one 16-bit a group of 128 where a weight-only format does not say its group, an 8-bit one for 32 (OCP
Microscaling 1.0) or for 16 elements (NVIDIA nvfp4), a 32-bit one for a block of 128 × 128 (DeepSeek-AI 2024,
arXiv:2412.19437, section 3.3.2); scales of groups and blocks are found where they are quantised, in one reading.
Models with latent attention in nvfp4: NVIDIA/Model-Optimizer issue 150. gguf kinds: mean bits of a Llama's weights
(ggml-org/llama.cpp, tools/quantize/README.md)."""

GROUPED = re.compile(r"int(?P<bits>[2-8])_g(?P<group>\d+)")
TRELLIS = re.compile(r"exl[23]_(?P<bits>\d+(?:\.\d+)?)bpw")
EXAMPLES = ("int4_g128 (any bits and group)", "exl2_4.5bpw")

CACHE_BITS = {
    "fp32": 32.0, "bf16": 16.0, "fp16": 16.0, "fp8": 8.0, "int8": 8.0, "int4": 4.5, "nvfp4": 4.5, "q8_0": 8.5,
    "q4_0": 4.5,
}  # fmt: skip
"""Bits of an element of cached keys and values, scales included [-]."""


def weight_format(name: str) -> WeightFormat:
    """The format of weights by name.

    Parameters
    ----------
    name : one of `WEIGHTS`, int<bits>_g<group>, or exl2_<bits>bpw

    Raises
    ------
    UnknownNameError
        no such format; near names are suggested

    Examples
    --------
    >>> weight_format("int4_g128").bits, weight_format("nvfp4").bits, weight_format("exl2_2.5bpw").bits
    (4.15625, 4.5, 2.5)
    """
    if name in WEIGHTS:
        return WEIGHTS[name]
    grouped, trellis = GROUPED.fullmatch(name), TRELLIS.fullmatch(name)
    if grouped:
        bits, group = int(grouped["bits"]), int(grouped["group"])
        if group:
            return WeightFormat(bits + (16 + bits) / group)  # a 16-bit scale and a zero point a group
    if trellis:
        return WeightFormat(float(trellis["bits"]))
    raise unknown("weight_dtype", name, (*WEIGHTS, *EXAMPLES))


PLAIN = ("fp32", "tf32", "bf16", "fp16")
"""Formats of what is not quantised."""


def format_faults(weights: str, activations: str | None, cache: str | None) -> Iterator[InputError]:
    """What is wrong with the names of three formats.

    Parameters
    ----------
    weights, activations, cache : see `Formats.of`

    Yields
    ------
    one error a name
    """
    try:
        weight_format(weights)
    except InputError as error:
        yield error
    if activations is not None and activations not in PLAIN:
        yield InputError(
            f"activation_dtype = {activations!r} names what is not quantised; valid: {', '.join(PLAIN)}; a "
            f"weight_dtype such as fp8 or int8 quantises the products' activations itself"
        )
    if cache is not None and cache not in CACHE_BITS:
        yield unknown("kv_dtype", cache, CACHE_BITS)


class Formats(NamedTuple):
    """Number formats of a forward pass.

    Parameters
    ----------
    dtype : that the linear layers compute in; names the peak
    core_dtype : of attention, norms and head
    operand_bytes : of an activation that enters a linear layer [B]
    element_bytes : of an activation [B]
    weight_bytes, expert_bytes, head_bytes : of a stored weight of the linear layers, of routed experts, and of token
        table and head [B]
    kv_bytes : of an element of the cache [B]
    packed : weights are unpacked on the way
    current : activations are read for their largest value before they are quantised
    blocks : scales of the weights go by blocks
    plain_latent : projections of latent attention stay in 16 bits
    """

    dtype: str
    core_dtype: str
    operand_bytes: float
    element_bytes: float
    weight_bytes: float
    expert_bytes: float
    head_bytes: float
    kv_bytes: float
    packed: bool
    current: bool
    blocks: bool
    plain_latent: bool

    @property
    def throughout(self) -> Formats:
        """The same where what lies between products has their format, too: no kernel of its own quantises anything.

        Examples
        --------
        >>> Formats.of("int8", "fp16", None).throughout[1:4], Formats.of("int8_wo", "fp16", None).throughout[1:4]
        (('int8', 1.0, 1.0), ('fp16', 2.0, 2.0))
        """
        return self._replace(core_dtype=self.dtype, element_bytes=self.operand_bytes, current=False)

    @classmethod
    def of(cls, weights: str, activations: str | None, cache: str | None) -> Formats:
        """Formats by their names.

        Parameters
        ----------
        weights : see `weight_format`
        activations : fp32, tf32, bf16 or fp16: what is not quantised; None follows from the weights
        cache : see `CACHE_BITS`; None is as the activations

        Raises
        ------
        InputError
            names that contradict each other
        """
        for fault in format_faults(weights, activations, cache):
            raise fault
        stored = weight_format(weights)
        core = activations or (weights if stored.bits >= 16 else "bf16")
        element = 4.0 if core in ("fp32", "tf32") else 2.0
        whole = stored.bits >= 16
        computes = core if whole or stored.computes is None or stored.experts_only else stored.computes
        plain = element if stored.experts_only else stored.bits / 8
        return cls(
            dtype=computes,
            core_dtype=core,
            operand_bytes=element if computes == core else stored.bits / 8,
            element_bytes=element,
            weight_bytes=element if whole else plain,
            expert_bytes=element if whole else stored.bits / 8,
            head_bytes=stored.bits / 8 if stored.everything else element,
            kv_bytes=element if cache is None else CACHE_BITS[cache] / 8,
            packed=not whole and (stored.computes is None or stored.experts_only),
            current=stored.current and computes != core,
            blocks=stored.blocks,
            plain_latent=stored.plain_latent,
        )
