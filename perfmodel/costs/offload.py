"""Copies to and from the host: what is offloaded leaves beside forward and comes back beside backward."""

from __future__ import annotations

from typing import Any

from perfmodel.costs.parameters import Held, own
from perfmodel.ops import maximum
from perfmodel.parallel import Parallel
from perfmodel.work import Overlap, Serial, Transfer, Work
from perfmodel.workload import Offload, Training

__all__ = ["copied", "gradients_out", "host_update", "with_copies"]


def copied(name: str, size: Any, offload: Offload) -> Work:
    """A copy between the device and where offloaded tensors lie.

    To storage, the host's memory is only on the way: both legs run at once, and the slower one sets the pace.

    Parameters
    ----------
    name : what is copied
    size : of it [B]
    offload : says where it lies

    Returns
    -------
    the copies

    Examples
    --------
    >>> copied("weights", 1e9, Offload(weights=1))
    Transfer(name='weights', bytes=1000000000.0, link='host_link')
    """
    link = Transfer(name, size, "host_link")
    if offload.to == "host":
        return link
    beyond = Overlap(f"{name} on storage", Transfer(name, size, "storage"), link, contends=False)
    return Serial(name, (link, beyond))


def with_copies(
    work: Serial,
    training: Training,
    layout: Parallel,
    *,
    activations: Any,
    parameters: Held,
    backward: bool = False,
) -> Serial:
    """One layer with its copies beside it.

    Parameters
    ----------
    work : forward or backward of the layer
    training, layout : say what is offloaded, and how many ranks share it
    activations : that leave the device in forward, and come back [B]
    parameters : of the layer on one rank, by the ranks that hold the same [-]
    backward : which of the two it is

    Returns
    -------
    the layer, as it is where nothing is offloaded

    References
    ----------
    Ren et al. (2021), ZeRO-Offload, arXiv:2101.06840, section 4; Rajbhandari et al. (2021), ZeRO-Infinity,
    arXiv:2104.07857, section 5
    """
    offload, formats = training.offload, training.formats
    if not offload.anything:
        return work
    here = own(parameters, layout, split="weights" in layout.sharded)
    fetched = offload.weights * here * formats.weight_bytes
    copies = [
        copied("activations back" if backward else "activations out", activations, offload),
        copied("weights in", fetched, offload),
    ]
    if backward and layout.reduces_every_pass:
        copies.append(gradients_out(own(parameters, layout, split=bool(layout.sharded)), training))
    together = Serial("offload", tuple(copies))
    return Serial(work.name, (*work.parts, Overlap("offload", together, work, contends=False)))


def gradients_out(parameters: Any, training: Training, share: Any = None) -> Work:
    """Gradients on their way to the host.

    Parameters
    ----------
    parameters : whose gradient this rank has in the end [-]
    training : the job
    share : of it that goes; None is as offloaded [-]

    Returns
    -------
    the copies
    """
    offload = training.offload
    size = (offload.gradients if share is None else share) * parameters * training.formats.gradient_bytes
    return copied("gradients out", size, offload)


def host_update(parameters: Any, training: Training, *, moved: Any, states: Any) -> tuple[Work, ...]:
    """The optimizer's step of the weights whose states lie outside: by the host, bounded by its memory.

    Gradients that backward has not sent yet go first, new weights that lie on the device come back last. Nothing of it
    runs beside anything else (ZeRO-Offload's delayed update, which would, is not modelled), but for states on storage,
    which stream past the update.

    Parameters
    ----------
    parameters : that this device updates [-]
    training : the job
    moved : bytes of a parameter's update, read and written [B]
    states : bytes that lie outside, of a parameter [B]

    Returns
    -------
    the work; nothing where all stays on the device

    References
    ----------
    Ren et al. (2021), ZeRO-Offload, arXiv:2101.06840, section 5.1 (an Adam for the host's processor)
    """
    offload, formats = training.offload, training.formats
    if not offload.anything:
        return ()
    here = offload.optimizer * parameters
    step: Work = Transfer("update on the host", here * moved, "host_memory")
    if offload.to == "nvme":
        stream = Transfer("states on storage", 2 * here * states, "storage")
        step = Serial("update", (step, Overlap("states", stream, step, contends=False)))
    missing = maximum(offload.optimizer - offload.gradients, 0)
    back = maximum(offload.optimizer - offload.weights, 0) * parameters * formats.weight_bytes
    return (
        gradients_out(parameters, training, missing),
        step,
        copied("weights back", back, offload),
    )
