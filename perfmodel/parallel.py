"""How a model is spread over devices: the degrees, the order they are placed in, and the rules they obey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from perfmodel.errors import Faults
from perfmodel.specs import Spec

if TYPE_CHECKING:
    from perfmodel.model import Model
    from perfmodel.workload import Training

__all__ = ["AXES", "RULES", "Group", "Parallel", "groups"]

AXES = ("tp", "cp", "dp", "pp")
"""Order of placement, innermost first: tensor ranks are neighbours, pipeline stages lie farthest apart (Megatron)."""

Degree = Field(default=1, ge=1, le=10**7)
Hidden = Literal["tp", "cp", "dp", "pp"]


class Parallel(Spec):
    """Degrees of parallelism and what goes with them.

    Examples
    --------
    >>> Parallel(tp=8, pp=4, vpp=5).replica
    32
    """

    tp: int = Degree
    """Tensor-parallel degree: ranks that share every matrix [-]."""
    pp: int = Degree
    """Pipeline-parallel degree: stages [-]."""
    vpp: int = Degree
    """Model chunks a stage holds; more than 1 interleaves the pipeline [-]."""
    cp: int = Degree
    """Context-parallel degree: ranks that share a sequence [-]."""
    dp: int | None = Field(default=None, ge=1, le=10**7)
    """Data-parallel degree; None follows from the devices [-]."""
    micro_batch: int = Degree
    """Sequences of one pass on one device [-]."""
    sharding: Literal["none", "zero1", "zero2", "zero3"] = "zero1"
    """What the data-parallel ranks split: nothing, optimizer states, gradients too, weights too (FSDP)."""
    sequence_parallel: bool = False
    """Norms and residuals are split over the tensor-parallel ranks."""
    overlap: tuple[Hidden, ...] = ("dp", "pp", "cp")
    """Axes whose messages run beside compute where the schedule allows."""

    @property
    def replica(self) -> int:
        """Devices that hold one copy of the model and one sequence [-]."""
        return self.tp * self.pp * self.cp

    def on(self, devices: int) -> Parallel:
        """The layout on so many devices: dp follows.

        Parameters
        ----------
        devices : of the cluster [-]

        Returns
        -------
        the layout with dp set

        Raises
        ------
        InputError
            the degrees do not multiply to the devices
        """
        faults = Faults("Parallel")
        if devices % self.replica:
            near = max(devices // self.replica, 1) * self.replica
            faults.add(
                f"tp · pp · cp = {self.tp} · {self.pp} · {self.cp} = {self.replica} does not divide {devices} devices; "
                f"nearest: {near} devices"
            )
        elif self.dp is not None and self.dp != devices // self.replica:
            faults.add(
                f"tp · pp · cp · dp = {self.replica} · {self.dp} = {self.replica * self.dp}, but the cluster has "
                f"{devices} devices; dp = {devices // self.replica} fits, or leave dp out and it follows"
            )
        faults.raise_if_any()
        return self.replace(dp=devices // self.replica) if self.dp is None else self

    def check(self, model: Model, work: Training) -> None:
        """Refuse a layout that the model or the batch cannot be split by, all broken rules at once.

        Parameters
        ----------
        model, work : what is split

        Raises
        ------
        InputError
            one sentence a broken rule: the numbers, the valid choices, the nearest one
        """
        faults = Faults("Parallel")
        for rule in RULES:
            for sentence in rule(self, model, work):
                faults.add(sentence)
        faults.raise_if_any()

    def micro_batches(self, global_batch: Any) -> Any:
        """Passes of one optimizer step on each device [-]."""
        return global_batch / (self.dp * self.micro_batch)  # type: ignore[operator]  # dp is set by `on`


class Group(NamedTuple):
    """The ranks of one axis: how many, and how far apart neighbours are placed.

    Parameters
    ----------
    ranks : members [-]
    stride : devices from one member to the next [-]
    """

    ranks: Any
    stride: Any


def groups(layout: Parallel) -> dict[str, Group]:
    """Where the ranks of each axis lie, in the order of `AXES`; "data" joins cp and dp, which share gradients.

    Parameters
    ----------
    layout : with dp set

    Returns
    -------
    one group an axis

    Examples
    --------
    >>> groups(Parallel(tp=8, pp=4, dp=16))["pp"]
    Group(ranks=4, stride=128)
    """
    placed, stride = {}, 1
    for axis in AXES:
        ranks = getattr(layout, axis)
        placed[axis] = Group(ranks, stride)
        stride = stride * ranks
    placed["data"] = Group(placed["cp"].ranks * placed["dp"].ranks, placed["cp"].stride)
    placed["ep"] = Group(1, placed["dp"].stride)
    return placed


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, min(number, 4096) + 1) if number % n == 0]


def _choices(valid: list[int], value: int) -> str:
    listed = ", ".join(map(str, valid[:12])) + (", …" if len(valid) > 12 else "")
    return f"valid: {listed}; nearest: {min(valid, key=lambda n: (abs(n - value), n))}"


def tensor_divides(layout: Parallel, model: Model, work: Training) -> Iterator[str]:
    """Every tensor-parallel rank gets whole heads and whole columns."""
    limits = dict.fromkeys(limit for layer, _ in model.layers() for limit in layer.tensor_limits())
    for what, size in limits:
        if size % layout.tp:
            yield f"tp = {layout.tp} does not divide the {size} {what}; {_choices(_divisors(size), layout.tp)}"


def tensor_fits_key_values(layout: Parallel, model: Model, work: Training) -> Iterator[str]:
    """Key-value heads are divided, or each is copied to a whole number of ranks."""
    for heads in sorted({getattr(layer, "kv_heads", 1) for layer, _ in model.layers()}):
        if heads % layout.tp and layout.tp % heads:
            valid = sorted({*_divisors(heads), *(heads * n for n in range(1, 9))})
            yield (
                f"tp = {layout.tp} neither divides the {heads} key-value heads nor is a multiple of them; "
                f"{_choices(valid, layout.tp)}"
            )


def chunk_has_layer(layout: Parallel, model: Model, work: Training) -> Iterator[str]:
    """Every chunk of every stage holds a layer; embedding and head may stand in for one each."""
    chunks, depth = layout.pp * layout.vpp, model.depth
    if chunks > depth + (2 if layout.pp > 1 else 0):
        pp = min(layout.pp, depth)
        yield (
            f"pp · vpp = {layout.pp} · {layout.vpp} = {chunks} needs a layer for every chunk, and the model has "
            f"{depth}; valid: pp · vpp up to {depth}; nearest: pp = {pp}, vpp = {depth // pp}"
        )


def interleaving_has_stages(layout: Parallel, model: Model, work: Training) -> Iterator[str]:
    """Interleaving needs a pipeline, and micro-batches in rounds of its stages."""
    if layout.vpp == 1:
        return
    if layout.pp == 1:
        yield f"vpp = {layout.vpp} interleaves the chunks of several stages, and pp = 1; nearest: vpp = 1"
    passes, rest = divmod(work.global_batch, layout.dp * layout.micro_batch)  # type: ignore[operator]
    if layout.pp > 1 and not rest and passes % layout.pp:
        near = max(passes // layout.pp, 1) * layout.pp * layout.dp * layout.micro_batch  # type: ignore[operator]
        yield (
            f"vpp = {layout.vpp} takes micro-batches in rounds of pp = {layout.pp}, which does not divide "
            f"{passes}; nearest: global_batch = {near}, or vpp = 1"
        )


def batch_divides(layout: Parallel, model: Model, work: Training) -> Iterator[str]:
    """The global batch is a whole number of micro-batches on every data-parallel rank."""
    one: int = layout.dp * layout.micro_batch  # type: ignore[operator]
    if work.global_batch % one:
        near = max(round(work.global_batch / one), 1) * one
        yield (
            f"dp · micro_batch = {layout.dp} · {layout.micro_batch} = {one} does not divide the global batch "
            f"{work.global_batch}; nearest: global_batch = {near}"
        )


RULES: tuple[Callable[[Parallel, Model, Training], Iterator[str]], ...] = (
    tensor_divides,
    tensor_fits_key_values,
    chunk_has_layer,
    interleaving_has_stages,
    batch_divides,
)
"""Rules of a valid layout. Each yields a sentence for what breaks it: rule, numbers, valid choices, nearest one."""
