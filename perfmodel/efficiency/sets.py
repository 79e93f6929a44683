"""Named sets of fits, one for the devices of an architecture."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import Field, model_validator

from perfmodel.efficiency.engines import Engine, EngineFit, EngineRecipe
from perfmodel.efficiency.fits import (
    MOST_BANDWIDTH,
    AttentionFit,
    AttentionKernel,
    CollectiveFit,
    HostFit,
    MatmulFit,
    OffloadFit,
    OverheadFit,
    OverlapFit,
    PackedFit,
    StreamFit,
)
from perfmodel.efficiency.software import Residuals, Software, SoftwareFit
from perfmodel.errors import unknown
from perfmodel.ops import minimum, power
from perfmodel.specs import Catalogue, SourcedSpec, Spec, kind_named

__all__ = ["Efficiency", "efficiencies", "load_fits"]

T = TypeVar("T")

MOST_ATTENTION = 2.0
"""Rate of an attention kernel over the peak, softmax counted as work, that can be meant [-]."""
MOST_WEIGHTS = 1.0
"""Rate over the memory bandwidth at which weights can stream, which no cache holds from one step to the next [-]."""
SHARPNESS = 16.0
"""Of the approach to it: a fit must still see what a rate near it does [-]."""
INSIDE = ("scale_up", "node")
"""Tiers that do not leave a node or a rack."""
MOST_LINK = 1.0
"""Fraction of a link that messages can reach; a switch that adds up what passes may seem to give more [-]."""


class Efficiency(SourcedSpec):
    """A named set of fitted constants for the devices of some architectures."""

    architectures: tuple[str, ...] = ()
    """Device architectures this is the default of; empty is the universal set."""
    on: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By a device's id, the fields that measurements of it changed: as in the set, as deep as they differ."""
    matmul: dict[str, MatmulFit]
    """By number format, "fp8_block" where scales go by blocks; "default" serves formats not listed."""
    packed: PackedFit = PackedFit()
    """Products whose weights are stored in fewer bits than they are computed in."""
    convolution: float = Field(default=1.0, gt=0, le=2)
    """Rate of convolutions over that of matrix products of their size [-]."""
    attention: AttentionFit
    """Fused attention kernels."""
    stream: StreamFit
    """Memory-bound kernels."""
    collective: dict[str, CollectiveFit]
    """By network tier: scale_up, node, fabric; "default" serves tiers not listed."""
    overlap: OverlapFit
    """What hidden messages cost."""
    host: HostFit
    """Kernel launches."""
    offload: OffloadFit
    """Copies to the host, and its own update."""
    overhead: OverheadFit
    """Memory beside the tensors."""
    half_sums: bool = False
    """Products of fp16 are summed in fp16, at the higher rate that some devices have for it."""
    direct: bool = False
    """All-reduces within a node may be kernels of the software's own that read their peers' memory."""
    fused_reduction: bool = False
    """These kernels also add the residual and normalise the sum."""
    fused_quantise: bool = False
    """Norms, activations and attention write what follows in the products' format: no kernel of its own quantises."""
    libraries: dict[str, str] = Field(default_factory=dict)
    """By number format, the entry of `matmul` for the library that the software calls, where there is one."""
    launched_messages: bool = False
    """Outside captured graphs, messages are the library's, and hosts launch each of them."""
    narrow_streams: bool = False
    """Decode streams caches of fewer bits at the rate of 16, byte for byte: kernels of the software's own."""
    residual: str
    """How well the fits hold on data they did not see."""
    software: str = ""
    """The stack or engine whose constants are in force; empty where the operator fits stand alone."""
    recipe: EngineRecipe | None = None
    """What that engine does where a job does not say; null where none is in force."""
    spread: Residuals | None = None
    """Errors of whole steps on comparable runs; null where none is known."""

    @classmethod
    def load(cls, name: str) -> Efficiency:
        """A bundled set, one from `PERFMODEL_PATH`, or a file.

        Parameters
        ----------
        name : id or path

        Returns
        -------
        the set

        Raises
        ------
        UnknownNameError
            no such set; near names are suggested

        Examples
        --------
        >>> Efficiency.load("hopper").matmul_for("bf16").compute
        0.76
        """
        return CATALOGUE.load(name)

    @model_validator(mode="after")
    def _devices_are_sets(self) -> Self:
        for device in self.on:
            self.measured_on(device)
        return self

    @classmethod
    def of(cls, architecture: str, software: str | None = None, *, device: str = "") -> Efficiency:
        """The default set of a device: its own where it was measured, else its architecture's, else the universal one.

        Parameters
        ----------
        architecture : of the device
        software : the training stack whose constants are put in force; None leaves the operator fits alone
        device : its id; none is any device of the architecture

        Returns
        -------
        the set

        Raises
        ------
        UnknownNameError
            no such software; near names are suggested

        Examples
        --------
        >>> Efficiency.of("Hopper").id, Efficiency.of("some new chip").id
        ('hopper', 'universal')
        >>> Efficiency.of("Hopper", "NeMo 25.02").id
        'hopper+nemo'
        >>> Efficiency.of("Ampere", device="nvidia-a40").id
        'ampere.nvidia-a40'
        """
        return _composed(architecture.lower(), software, device)

    @classmethod
    def serving(cls, architecture: str, engine: str = "default", *, device: str = "") -> Efficiency:
        """The set of a device under an inference engine.

        Parameters
        ----------
        architecture : of the device
        engine : see `engines()`
        device : its id; none is any device of the architecture

        Raises
        ------
        UnknownNameError
            no such engine; near names are suggested

        Examples
        --------
        >>> Efficiency.serving("Hopper", "vLLM 0.12.0").id
        'hopper+vllm'
        """
        return _serving(architecture.lower(), engine, device)

    def measured_on(self, device: str) -> Efficiency:
        """The set of one device: what was measured on it goes before what serves its architecture.

        Parameters
        ----------
        device : its id

        Returns
        -------
        the set with the device's name, or itself where nothing differs
        """
        if device not in self.on:
            return self
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        whole = _merged(fields | {"on": {}}, self.on[device])
        return type(self).model_validate(whole | {"id": f"{self.id}.{device}"})

    def under(self, software: Software, architecture: str) -> Efficiency:
        """The same machine under a training stack: its constants applied to the operator fits.

        Parameters
        ----------
        software : the stack
        architecture : of the device, for constants of its own

        Returns
        -------
        a set with the stack's name

        Examples
        --------
        >>> fits = Efficiency.load("ampere")
        >>> slow = Software.load("default").replace(constants=SoftwareFit(matmul=0.5), on={})
        >>> fits.under(slow, "Ampere").matmul_for("bf16").compute / fits.matmul_for("bf16").compute
        0.5
        """
        return self.applied(software.fit(architecture), software.recipe.attention_kernel).replace(
            id=f"{self.id}+{software.id}",
            software=software.id,
            spread=software.residuals,
            sources=(*self.sources, *software.sources),
            **(software.recipe.in_force if isinstance(software, Engine) else {}),
        )

    def applied(self, fit: SoftwareFit, kernel: AttentionKernel) -> Efficiency:
        """The operator fits with the constants of a stack, whose numbers may be arrays: nothing is checked.

        Parameters
        ----------
        fit : the constants
        kernel : the attention kernel that the stack has

        Returns
        -------
        a set under the same name
        """
        host = {"launch": fit.launch, "step": fit.step, "straggling": fit.straggling}
        stream = {"passes": self.stream.passes * fit.pointwise, "latency": self.stream.latency + fit.gap}
        changes: dict[str, Any] = {
            "matmul": {dtype: _multiplied(one, fit) for dtype, one in self.matmul.items()},
            "convolution": self.convolution * fit.convolution,
            "attention": _attended(self.attention, kernel, fit),
            "stream": self.stream.model_copy(update=stream),
            "collective": {
                tier: self.collective_for(tier).scaled(
                    fit.scale_up if tier in INSIDE else fit.fabric, most=MOST_LINK
                )
                for tier in dict.fromkeys((*INSIDE, *self.collective, "fabric"))
            },
            "overlap": self.overlap.model_copy(update={"achieved": fit.overlapped}),
            "host": self.host.model_copy(update=host),
        }
        if isinstance(fit, EngineFit):
            changes["host"] = changes["host"].model_copy(
                update={"request": fit.request, "sequence": fit.sequence}
            )
            changes |= _served(changes["matmul"], changes["attention"], self.packed, fit)
        return self.model_copy(update=changes)

    def matmul_for(self, dtype: str, kernel: str = "product") -> MatmulFit:
        """Constants of matrix products in a number format.

        Parameters
        ----------
        dtype : the format
        kernel : of the product; blocks is one that applies scales on the way
        """
        of_blocks = f"{dtype}_block" if kernel == "blocks" else ""
        names = (of_blocks, self.libraries.get(dtype, ""), dtype)
        key = next((name for name in names if name in self.matmul), dtype)
        return _listed(self.matmul, key, "matmul format")

    def collective_for(self, tier: str) -> CollectiveFit:
        """Constants of messages on a network tier."""
        return _listed(self.collective, tier, "network tier")


def _listed(table: dict[str, T], key: str, kind: str) -> T:
    found = table.get(key) or table.get("default")
    if found is None:
        raise unknown(kind, key, table)
    return found


def _multiplied(fit: MatmulFit, by: SoftwareFit) -> MatmulFit:
    """Matrix products as the software calls them."""
    compute = minimum(fit.compute * by.matmul, 1.0)
    return fit.model_copy(update={"compute": compute, "latency": fit.latency + by.gap})


def _attended(fit: AttentionFit, kernel: AttentionKernel, by: SoftwareFit) -> AttentionFit:
    """The attention kernel that the software has."""
    rate = fit.compute * fit.older.get(kernel, 1.0) * by.attention
    slower = {} if fit.decode_latency is None else {"decode_latency": fit.decode_latency + by.gap}
    changes = {"compute": minimum(rate, MOST_ATTENTION), "latency": fit.latency + by.gap}
    return fit.model_copy(update=changes | slower)


def _streamed(rate: Any) -> Any:
    """A rate over the memory bandwidth, smoothly held below what weights can reach [-]."""
    return rate / power(1.0 + power(rate / MOST_WEIGHTS, SHARPNESS), 1.0 / SHARPNESS)


def _served(
    matmul: dict[str, MatmulFit], attention: AttentionFit, packed: PackedFit, by: EngineFit
) -> dict[str, Any]:
    """Products of few tokens, attention against the cache and packed weights as an engine's kernels have them."""
    cached = attention.memory if attention.decode_memory is None else attention.decode_memory
    return {
        "matmul": {
            dtype: one.model_copy(
                update={
                    "memory": _streamed(one.memory * by.bandwidth),
                    "inner_step": one.inner_step / by.bandwidth,
                    "core": by.core,
                }
            )
            for dtype, one in matmul.items()
        },
        "attention": attention.model_copy(
            update={"decode_memory": minimum(cached * by.decode, MOST_BANDWIDTH)}
        ),
        "packed": packed.model_copy(
            update={"compute": packed.compute * by.packed, "memory": packed.memory * by.packed}
        ),
    }


CATALOGUE = Catalogue("efficiency", Efficiency, "efficiency")


@lru_cache(maxsize=1)
def _by_architecture() -> dict[str, Efficiency]:
    found = (CATALOGUE.load(name) for name in CATALOGUE.names())
    return {architecture.lower(): one for one in found for architecture in one.architectures}


@lru_cache(maxsize=256)
def _composed(architecture: str, software: str | None, device: str) -> Efficiency:
    base = (_by_architecture().get(architecture) or Efficiency.load("universal")).measured_on(device)
    return base if software is None else base.under(Software.known(software), architecture)


@lru_cache(maxsize=256)
def _serving(architecture: str, engine: str, device: str) -> Efficiency:
    return _composed(architecture, None, device).under(Engine.known(engine), architecture)


def _merged(fields: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a spec, or entries of a table, with some of them changed, as deep as the changes go."""
    whole = fields.model_dump() if isinstance(fields, Spec) else dict(fields)
    for name, value in changes.items():
        within = isinstance(value, Mapping) and isinstance(whole.get(name), Mapping | Spec)
        whole[name] = _merged(whole[name], value) if within else value
    return whole


def load_fits(name: str) -> Efficiency | Software:
    """What `estimate(efficiency=…)` takes, by name or from a file.

    Parameters
    ----------
    name : of an efficiency set; or the path of one, or of the set of a training stack or an engine, as `calibrate`
        writes them: its first line tells which

    Raises
    ------
    UnknownNameError
        no such set; near names are suggested
    SpecError
        the file can't be read, or holds something else

    Examples
    --------
    >>> load_fits("hopper").id
    'hopper'
    """
    if name.endswith((".yaml", ".yml")):
        kinds: dict[str | None, type[Software]] = {"software": Software, "engine": Engine}
        kind = kinds.get(kind_named(Path(name).expanduser()))
        if kind is not None:
            return kind.load(name)
    return Efficiency.load(name)


def efficiencies() -> dict[str, str]:
    """Names of all sets, with where each comes from."""
    return CATALOGUE.names()
