"""What a training stack makes of the machine: a handful of constants a software, beside the operator fits."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from perfmodel.efficiency.fits import AttentionKernel
from perfmodel.errors import unknown
from perfmodel.layers.kept import Kernels
from perfmodel.specs import Catalogue, SourcedSpec, Spec
from perfmodel.units import Seconds

__all__ = ["Residuals", "Software", "SoftwareFit", "software"]

Beginnings = tuple[tuple[str, str], ...]

TINY = 1e-12
DEFAULT = "default"
"""The set for software that none other knows."""
VENDOR = re.compile(r"^(?:(?:nvidia|ngc|amd|rocm|intel|habana|gaudi|google|aws|meta|microsoft|huawei|ibm) )+")
"""Who packed a stack, which people write before its name."""


class SoftwareFit(Spec):
    """Constants of a training stack, each with a physical meaning; rates are relative to the operator fits."""

    matmul: float = Field(default=1.0, gt=0, le=2)
    """Rate of matrix products over that of the operator fit [-]."""
    attention: float = Field(default=1.0, gt=0, le=2)
    """Rate of the attention kernel over that of the operator fit [-]."""
    convolution: float = Field(default=1.0, gt=0, le=2)
    """Rate of convolutions over that of matrix products of their size [-]."""
    pointwise: float = Field(default=1.0, gt=0, le=20)
    """Bytes and kernels of norms, activations and their like over those of fused kernels [-]."""
    scale_up: float = Field(default=1.0, gt=0, le=2)
    """Rate of messages on the links within a node or rack over that of the operator fit [-]."""
    fabric: float = Field(default=1.0, gt=0, le=2)
    """The same of messages between nodes [-]."""
    overlapped: float = Field(default=1.0, ge=0, le=1)
    """Share of the messages that could hide behind compute that does [-]."""
    launch: Seconds = Field(default=6e-6, ge=0)
    """Time of the host for each kernel it launches [s]."""
    gap: Seconds = Field(default=0.0, ge=0)
    """Time the device idles between two kernels: none in a CUDA graph, much where every launch is waited for [s]."""
    step: Seconds = Field(default=0.0, ge=0)
    """Time of one optimizer step outside the model: fetching data, logging, synchronising [s]."""
    straggling: float = Field(default=0.0, ge=0, le=1)
    """Share of a step lost to waiting for each doubling of the nodes [-]."""


class Residuals(Spec):
    """How far predictions lie from measured runs that the constants were not fitted to."""

    rows: int = Field(ge=0)
    """Measured runs [-]."""
    levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    """Levels of the quantiles [-]."""
    log_error: tuple[float, ...]
    """Quantiles of ln(predicted / measured), cross-validated [-]."""

    @field_validator("log_error")
    @classmethod
    def _ascending(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if list(quantiles) != sorted(quantiles):
            raise ValueError("quantiles ascend with their levels")
        return quantiles

    def quantile(self, level: float) -> float:
        """Quantile at a level, straight between the stored ones; beyond them tails fall off exponentially.

        Parameters
        ----------
        level : between 0 and 1 [-]

        Examples
        --------
        >>> Residuals(rows=9, levels=(0.1, 0.5, 0.9), log_error=(-0.2, 0.0, 0.1)).quantile(0.7)
        0.05
        """
        levels, values = self.levels, self.log_error
        if level > levels[-1]:
            return _tail(values[-2], values[-1], 1 - levels[-2], 1 - levels[-1], 1 - level)
        if level < levels[0]:
            return _tail(values[1], values[0], levels[1], levels[0], level)
        inner = max(index for index in range(len(levels) - 1) if levels[index] <= level)
        share = (level - levels[inner]) / (levels[inner + 1] - levels[inner])
        return values[inner] + share * (values[inner + 1] - values[inner])


def _tail(inner: float, outer: float, share: float, beyond: float, left: float) -> float:
    """Value that only `left` of all lie beyond, where `share` do beyond the inner and `beyond` beyond the outer one."""
    return outer + (outer - inner) * math.log(beyond / left) / math.log(share / beyond)


class Recipe(Spec):
    """What a stack's recipes set where a run does not say: conventions, not fits."""

    attention_kernel: AttentionKernel = "newest"
    """Generation of the fused attention kernel."""
    gradient_dtype: Literal["fp32", "bf16", None] = None
    """Format of gradients, accumulated and on the wire; null is the precision's own."""
    gradient_copy: dict[str, Literal["accumulated", "update"]] = Field(default_factory=dict)
    """Second gradients that are kept, by the precision that they go with (see `Training.gradient_copy`)."""
    weight_dtype: Literal["fp32", None] = None
    """Format of the weights; null is the precision's own."""
    kernels: Kernels = "fused"
    """Whose kernels do pointwise work; see `Training`."""
    packing: Literal["none", "flat", "rows"] = "none"
    """Copies of sharded weights and gradients; see `Parallel`."""
    scaling: Literal["delayed", "current"] = "delayed"
    """Scales of 8-bit tensors; see `Training`."""
    bucket: int | None = None
    """Parameters whose gradients are reduced together; see `Parallel` [-]."""
    hides: tuple[Literal["tp", "cp", "ep", "dp", "pp"], ...] = ("dp", "pp", "cp")
    """Axes whose messages run beside compute."""
    dispatch: Literal["all_to_all", "deduplicated"] = "all_to_all"
    """How tokens travel to routed experts; see `Parallel`."""
    tp_overlap: Literal["ring", "pipelined", "userbuffers", None] = None
    """How tensor-parallel messages run beside products; see `Parallel`."""


class Software(SourcedSpec):
    """A training stack, or a family of its releases.

    Examples
    --------
    >>> [Software.of(name).id for name in ("NeMo (dgxc-benchmarking)", "NVIDIA Megatron-LM", "never heard of")]
    ['nemo', 'megatron-lm', 'default']
    """

    one_is_called: ClassVar[str] = "stack"
    """What messages call a set of this kind."""
    aliases: tuple[str, ...] = ()
    """How its name begins where runs state it."""
    constants: SoftwareFit
    """On any architecture."""
    on: dict[str, SoftwareFit] = Field(default_factory=dict)
    """On architectures with measured runs of their own, by the architecture's name in lower case."""
    recipe: Recipe = Recipe()
    """What its recipes set where a run does not say."""
    residual: str = ""
    """How well the constants hold on runs that they were not fitted to."""
    residuals: Residuals | None = None
    """The same in quantiles."""

    @classmethod
    def catalogue(cls) -> Catalogue[Any]:
        """Where sets of this kind are found by name."""
        return CATALOGUE

    @classmethod
    def load(cls, name: str) -> Self:
        """A bundled set, one from `PERFMODEL_PATH`, or a file.

        Parameters
        ----------
        name : id, alias or path

        Raises
        ------
        UnknownNameError
            no such set; near names are suggested
        """
        found: Self = cls.catalogue().load(name)
        return found

    @classmethod
    def of(cls, stated: str) -> Self:
        """The set of a name as people write it, releases and all; the default one where nobody knows it.

        Parameters
        ----------
        stated : such as "NeMo 24.07"

        Returns
        -------
        the set whose alias is the longest beginning of the name
        """
        return cls.load(begun_by(stated, _beginnings(cls.catalogue())) or DEFAULT)

    @classmethod
    def known(cls, name: str) -> Self:
        """The set that a user names, by id or as people write it.

        Parameters
        ----------
        name : id, path, or a name that begins like one of the aliases

        Raises
        ------
        UnknownNameError
            nobody knows it; near names are suggested
        """
        if str(name).endswith((".yaml", ".yml")):
            return cls.load(name)
        found, catalogue = cls.of(name), cls.catalogue()
        if found.id == DEFAULT and plain(name) != DEFAULT:
            typical = f"software='{DEFAULT}' is the typical {cls.one_is_called}"
            raise unknown(catalogue.kind, name, catalogue.names(), typical)
        return found

    def fit(self, architecture: str) -> SoftwareFit:
        """The constants on an architecture: its own where there were runs, else as typical software differs there.

        Parameters
        ----------
        architecture : of the device
        """
        there = architecture.lower()
        if there in self.on or self.id == DEFAULT:
            return self.on.get(there, self.constants)
        typical = type(self).load(DEFAULT)
        changed = typical.on.get(there)
        return self.constants if changed is None else _carried(self.constants, typical.constants, changed)


def _carried(fit: SoftwareFit, typical: SoftwareFit, there: SoftwareFit) -> SoftwareFit:
    """Constants that differ from a stack's own as typical ones do between anywhere and there."""
    carried = {}
    for name, field in type(fit).model_fields.items():
        own, usual, changed = (getattr(each, name) for each in (fit, typical, there))
        most = next((each.le for each in field.metadata if hasattr(each, "le")), math.inf)
        if name == "overlapped":  # a share: its odds change
            carried[name] = _share(_odds(own) * _odds(changed) / _odds(usual))
        else:
            carried[name] = min(own * changed / usual if usual else own, most)
    return type(fit)(**carried)


def _odds(share: float) -> float:
    return share / max(1 - share, TINY)


def _share(odds: float) -> float:
    return odds / (1 + odds)


CATALOGUE = Catalogue("software", Software, "software")


def plain(name: str) -> str:
    """A name without case and signs, as names are compared."""
    return re.sub(r"[^a-z0-9.+]+", " ", name.casefold()).strip()


def begun_by(stated: str, beginnings: Beginnings) -> str | None:
    """The set whose alias is the longest beginning of a name, with or without who packed the software.

    Parameters
    ----------
    stated : as people write it, releases and all
    beginnings : plain aliases, each with the id of its set

    Examples
    --------
    >>> begun_by("NVIDIA NeMo 24.07", (("nemo", "nemo"), ("ne", "other")))
    'nemo'
    """
    wanted = plain(stated)
    for name in (wanted, VENDOR.sub("", wanted)):
        found = [(len(alias), id) for alias, id in beginnings if name.startswith(alias)]
        if found:
            return max(found)[1]
    return None


@lru_cache(maxsize=2)
def _beginnings(catalogue: Catalogue[Any]) -> Beginnings:
    """How the names of a kind's sets begin where runs state them."""
    every: list[Software] = [catalogue.load(name) for name in catalogue.names()]
    return tuple((plain(name), one.id) for one in every for name in (one.id, *one.aliases))


def software() -> dict[str, str]:
    """Names of all sets, with where each comes from."""
    return CATALOGUE.names()
