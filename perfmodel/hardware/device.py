"""One accelerator: what its datasheet says."""

from __future__ import annotations

from os import PathLike
from typing import Literal, Self

from pydantic import Field, model_validator

from perfmodel.errors import InputError, UnsupportedError, unknown
from perfmodel.hardware.sparsity import refuse_sparse_headlines
from perfmodel.hardware.tables import html_table, text_table
from perfmodel.specs import Catalogue, SourcedSpec, Spec
from perfmodel.units import Bytes, BytesPerSecond, FlopPerSecond, Hertz, Watts, show

__all__ = ["DTYPES", "Device", "Memory", "Port", "Rates", "ScaleUp", "Topology", "devices"]

Topology = Literal["none", "mesh", "cube_mesh", "switch", "ring", "torus2d", "torus3d", "tree"]
"""How devices are joined."""


class Rates(Spec):
    """Dense rates by number format; null is unknown or absent."""

    fp64: FlopPerSecond | None = None
    """64-bit floating point [FLOP/s]."""
    fp32: FlopPerSecond | None = None
    """32-bit floating point [FLOP/s]."""
    tf32: FlopPerSecond | None = None
    """32-bit operands rounded to 10 bits of mantissa [FLOP/s]."""
    bf16: FlopPerSecond | None = None
    """16 bits, 8 of them exponent [FLOP/s]."""
    fp16: FlopPerSecond | None = None
    """16 bits, 5 of them exponent, accumulated in fp32 [FLOP/s]."""
    fp8: FlopPerSecond | None = None
    """8-bit floating point [FLOP/s]."""
    fp6: FlopPerSecond | None = None
    """6-bit floating point [FLOP/s]."""
    fp4: FlopPerSecond | None = None
    """4-bit floating point [FLOP/s]."""
    int8: FlopPerSecond | None = None
    """8-bit integer, a multiply-add counted as 2 [FLOP/s]."""
    int4: FlopPerSecond | None = None
    """4-bit integer, a multiply-add counted as 2 [FLOP/s]."""

    def known(self) -> dict[str, float]:
        """The rates that are known, by number format [FLOP/s]."""
        return {dtype: rate for dtype in DTYPES if (rate := getattr(self, dtype)) is not None}


DTYPES = tuple(Rates.model_fields)
"""Number formats, from wide to narrow, integers last."""

_SUBSTITUTES = {
    "fp64": (), "fp32": ("fp64",), "tf32": ("fp32",), "bf16": ("fp16", "tf32", "fp32"),
    "fp16": ("bf16", "tf32", "fp32"), "fp8": ("bf16", "fp16"), "fp6": ("fp8", "bf16", "fp16"),
    "fp4": ("fp6", "fp8", "bf16", "fp16"), "int8": ("fp8", "bf16", "fp16"), "int4": ("int8", "fp8", "bf16", "fp16"),
}  # fmt: skip


class Memory(Spec):
    """A memory of the device."""

    capacity: Bytes | None = None
    """Size that software can use; null is unknown, as of memory that is bought apart [B]."""
    capacity_note: str = ""
    """What kind of size it is: as marketed, as the driver reports."""
    bandwidth: BytesPerSecond | None = None
    """Peak of reads and writes together [B/s]."""
    type: str | None = None
    """Technology: HBM3, GDDR6, …"""


class ScaleUp(Spec):
    """The fast links among the devices of one domain, such as NVLink, xGMI or ICI."""

    name: str | None = None
    """Name of the link."""
    bandwidth: BytesPerSecond | None = None
    """All links of a device together, one direction [B/s]."""
    links: int | None = None
    """Links a device has [-]."""
    per_link: BytesPerSecond | None = None
    """One link, one direction [B/s]."""
    effective_per_link: BytesPerSecond | None = None
    """What its maker says one link sustains, one direction [B/s]."""
    domain_size: int | None = Field(default=1, ge=1)
    """Most devices that the links join [-]."""
    devices_per_node: int | None = Field(default=None, ge=1)
    """Devices of a domain in one node, where the domain spans several; null where a node holds it whole [-]."""
    topology: Topology = "none"
    """How the devices of a domain are joined."""
    subset_links: dict[int, int] = Field(default_factory=dict)
    """Links that each of so many neighbours has to the others of them, where the wiring is uneven [-]."""
    in_network_reduction: bool = False
    """The switches can add up what passes through them (NVLink SHARP)."""
    note: str = ""
    """What a user of the numbers should know."""


class Port(Spec):
    """A way out of the device: to its host, or to other nodes."""

    name: str
    """What it is."""
    bandwidth: BytesPerSecond
    """Per device, one direction [B/s]."""


class Device(SourcedSpec):
    """One accelerator, as its datasheet describes it.

    Examples
    --------
    >>> device = Device.load("h100")
    >>> device.id, device.peak.bf16, device.memory_bandwidth
    ('nvidia-h100-sxm-80gb', 989400000000000.0, 3350000000000.0)
    >>> device.replace(memory__bandwidth="4.8 TB/s").memory.bandwidth
    4800000000000.0
    """

    aliases: tuple[str, ...] = ()
    """Other names it is looked up by."""
    vendor: str
    """Who makes it."""
    architecture: str
    """Generation; also chooses the default Efficiency."""
    year: int
    """Of its release."""
    kind: Literal["gpu", "apu", "npu", "tpu", "cpu"]
    """What it is; an apu shares memory with its host processor."""
    peak: Rates
    """Dense matrix rates by number format [FLOP/s]."""
    vector: Rates = Field(default_factory=Rates)
    """Rates outside the matrix units by number format [FLOP/s]."""
    fp16_acc16: FlopPerSecond | None = None
    """Dense fp16 matrix rate where the sum is kept in fp16 [FLOP/s]."""
    achievable_bf16: FlopPerSecond | None = None
    """bf16 rate at the clock that shipped parts run, where it is below the datasheet's [FLOP/s]."""
    memory: Memory
    """Main memory of the device."""
    tier2: Memory | None = None
    """A second, larger and slower memory of the device."""
    l2: Bytes | None = None
    """Second-level cache [B]."""
    llc: Bytes | None = None
    """Last-level cache behind the second [B]."""
    sram_per_core: Bytes | None = None
    """Software-managed or first-level memory of one core [B]."""
    cores: int | None = None
    """Multiprocessors, compute units or cores, as the vendor counts [-]."""
    clock: Hertz | None = None
    """Clock that the peak refers to [Hz]."""
    tdp: Watts | None = None
    """Thermal design power [W]."""
    scale_up: ScaleUp = Field(default_factory=ScaleUp)
    """Fast links to its neighbours."""
    host_link: Port | None = None
    """Link to the host processor."""
    scale_out: Port | None = None
    """Usual share of the network between nodes."""

    @model_validator(mode="after")
    def _dense(self) -> Self:
        refuse_sparse_headlines(" ".join((self.id, self.name, *self.aliases)), self.peak.known())
        return self

    @classmethod
    def load(cls, name: str | PathLike[str]) -> Device:
        """A device by id, alias or path of a YAML file.

        Parameters
        ----------
        name : see `devices()`; case, spaces and underscores do not matter

        Raises
        ------
        UnknownNameError
            no such device; near names are suggested
        SpecError
            the name fits several devices, or the file breaks a rule

        Examples
        --------
        >>> Device.load("MI300X").name
        'AMD Instinct MI300X'
        """
        return _CATALOGUE.load(name)

    @property
    def memory_bandwidth(self) -> float:
        """Peak bandwidth of the main memory [B/s]."""
        return self._known(self.memory.bandwidth, "memory bandwidth", 'memory__bandwidth="2 TB/s"')

    @property
    def memory_capacity(self) -> float:
        """Size of the main memory [B]."""
        return self._known(self.memory.capacity, "memory capacity", 'memory__capacity="512 GiB"')

    def peak_for(self, dtype: str) -> float:
        """Dense matrix rate in a number format [FLOP/s].

        Parameters
        ----------
        dtype : one of fp64, fp32, tf32, bf16, fp16, fp8, fp6, fp4, int8, int4

        Raises
        ------
        UnknownNameError
            no such number format
        UnsupportedError
            the device has no known rate in it

        Examples
        --------
        >>> Device.load("tpu-v4").peak_for("fp8")
        Traceback (most recent call last):
        perfmodel.errors.UnsupportedError: google-tpu-v4 has no known peak in fp8; known: bf16, int8; nearest: bf16
        """
        if dtype not in DTYPES:
            raise unknown("dtype", dtype, DTYPES)
        rate: float | None = getattr(self.peak, dtype)
        if rate is not None:
            return rate
        known = self.peak.known()
        nearest = next((each for each in _SUBSTITUTES[dtype] if each in known), None)
        ending = f"; nearest: {nearest}" if nearest else ""
        raise UnsupportedError(f"{self.id} has no known peak in {dtype}; known: {', '.join(known)}{ending}")

    def _known(self, value: float | None, what: str, example: str) -> float:
        if value is None:
            raise InputError(f"the {what} of {self.id} is unknown; give it: device.replace({example})")
        return value

    def __repr__(self) -> str:
        return text_table(self._title(), self._rows())

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_table(self._title(), self._rows())

    def _title(self) -> str:
        return f"{self.name} ({self.id}; {self.architecture}, {self.year})"

    def _rows(self) -> list[tuple[str, str]]:
        peaks = (f"{dtype} {show(rate, 'FLOP/s')}" for dtype, rate in self.peak.known().items())
        memory = (
            _shown(self.memory.capacity, "B"),
            self.memory.type or "",
            _shown(self.memory.bandwidth, "B/s"),
        )
        domain = f"{self.scale_up.topology} of {self.scale_up.domain_size or 'unknown size'}"
        scale_up = f"{self.scale_up.name or ''} {_shown(self.scale_up.bandwidth, 'B/s')} one way, {domain}"
        return [
            ("peak, dense", ", ".join(peaks)),
            ("memory", ", ".join(filter(None, memory))),
            ("scale-up", scale_up.strip() if self.scale_up.domain_size != 1 else ""),
            ("host link", _port(self.host_link)),
            ("scale-out", _port(self.scale_out)),
            ("power", show(self.tdp, "W") if self.tdp is not None else ""),
            ("confidence", self.confidence),
            ("unverified", ", ".join(self.unverified)),
            ("notes", self.notes),
        ]


def _shown(value: float | None, dimension: Literal["B", "B/s"]) -> str:
    return show(value, dimension) if value is not None else f"? {dimension}"


def _port(port: Port | None) -> str:
    return f"{port.name}, {show(port.bandwidth, 'B/s')} one way" if port else ""


_CATALOGUE = Catalogue("device", Device, "devices")


def devices() -> dict[str, str]:
    """Ids of all devices, with where each comes from."""
    return _CATALOGUE.names()
