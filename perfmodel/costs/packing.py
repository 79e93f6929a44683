"""What a rank does to sharded weights and gradients on their way, and to weights that products want in fewer bits."""

from __future__ import annotations

from typing import Any

from perfmodel.costs.parameters import Held
from perfmodel.ops import added, where
from perfmodel.parallel import Parallel
from perfmodel.work import Serial, Stream, Work
from perfmodel.workload import Precision, Training

__all__ = ["packed", "quantised_once"]


def packed(
    work: Serial, parameters: Held, job: Training, layout: Parallel, *, products: bool, backward: bool
) -> Serial:
    """A layer with the copies of its weights before it, and those of its gradients after it.

    FSDP2 splits every parameter by rows: what was gathered is copied to its place (read and written), gradients are
    cast into the message. Flat parameters of the first FSDP are gathered in place; their gradients are joined from the
    views, and divided before they are summed. Weights that come anew in every pass are quantised anew, one way for
    forward and the other for backward.

    Parameters
    ----------
    work : forward or backward of one layer
    parameters : of the layer on one rank, by the ranks that hold the same [-]
    job, layout : what is run, and who shares what
    products : the layer's products are in the quantised format; the head's are not
    backward : gradients come out of this work, and weights may still be there from forward

    Returns
    -------
    the layer

    References
    ----------
    torch.distributed.fsdp, _fully_shard/_fsdp_collectives.py: foreach_all_gather_copy_out,
    foreach_reduce_scatter_copy_in; _flat_param.py, _runtime_utils.py: _reduce_grad; pytorch/ao,
    torchao/testing/training/roofline_utils.py: weights cast in both directions, their largest value read before

    Examples
    --------
    >>> layer, job = Serial("layer", ()), Training(global_batch=8, sequence_length=1, reduce_dtype="fp32")
    >>> layout = Parallel(dp=8, sharding="zero3", packing="rows")
    >>> done = packed(layer, {"data": 1e9}, job, layout, products=True, backward=True)
    >>> [(part.name, part.bytes / 1e9) for part in done.parts]
    [('unpack weights', 4.0), ('pack gradients', 6.0)]
    """
    formats, before, after = job.formats, [], []
    split: Any = 0
    if layout.packing != "none":
        split = added(amount * _apart(layout, alike) for alike, amount in parameters.items())
    comes = "weights" in layout.sharded and (layout.reshard or not backward)
    if comes and layout.packing == "rows":
        before.append(Stream("unpack weights", 2 * formats.weight_bytes * split, "copy"))
    if comes and products and formats.dtype != formats.core_dtype:
        size = added(parameters.values()) * (_read(job) + formats.operand_bytes)
        before.append(Stream("quantise weights", size, "copy"))
    if backward and layout.reduces_every_pass and layout.packing != "none":
        after.append(Stream("pack gradients", _gradient_bytes(formats, layout) * split, "copy"))
    return Serial(work.name, (*before, *work.parts, *after)) if before or after else work


def quantised_once(parameters: Any, job: Training, layout: Parallel) -> tuple[Work, ...]:
    """Weights that stay over the step are quantised once, both ways, before its first micro-batch.

    Parameters
    ----------
    parameters : of the quantised products on this device [-]
    job, layout : what is run, and who shares what

    References
    ----------
    NVIDIA Transformer Engine, `is_first_microbatch`; its cast-transpose kernel

    Examples
    --------
    >>> quantised_once(1e9, Training(global_batch=1, sequence_length=1, precision="fp8"), Parallel(dp=1))
    (Stream(name='quantise weights', bytes=4000000000.0, kind='copy', launches=1, joins=None),)
    """
    formats = job.formats
    if formats.dtype == formats.core_dtype or "weights" in layout.sharded:
        return ()
    return (Stream("quantise weights", parameters * (_read(job) + 2 * formats.operand_bytes), "copy"),)


def _read(job: Training) -> Any:
    """Bytes of a weight that are read to quantise it [B]."""
    return job.formats.weight_bytes * (2 if job.scaling == "current" else 1)


def _apart(layout: Parallel, alike: str) -> Any:
    """1 where several ranks split what is held alike, else 0 [-]."""
    return where(layout.ranks_that_split(alike) > 1, 1.0, 0.0)


def _gradient_bytes(formats: Precision, layout: Parallel) -> Any:
    """Moved for each parameter whose gradient goes into a message [B]."""
    own = formats.weight_bytes
    if layout.packing == "rows":
        return own + formats.reduce_bytes
    cast = 0 if formats.reduce_bytes == own else own + formats.reduce_bytes
    return 2 * own + cast + 2 * formats.reduce_bytes
