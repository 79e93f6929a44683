"""The optimizer's step: the norm of the gradient, and this device's part of the weights updated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perfmodel.costs.offload import gradients_out, host_update
from perfmodel.costs.parameters import Held, own
from perfmodel.costs.states import mean_state_bytes
from perfmodel.layers import Pass
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.work import Collective, Stream, Work
from perfmodel.workload import OPTIMIZERS, Training

__all__ = ["update"]


def update(
    model: Model, work: Training, layout: Parallel, p: Pass, parameters: Held, *, tensors: Any
) -> Iterator[Work]:
    """The norm that clips the gradient, and the update of this device's part of the weights.

    Parameters
    ----------
    model, work, layout : the job
    p : one micro-batch as one device sees it
    parameters : of the fullest stage on one rank, by the ranks that hold the same [-]
    tensors : parameter tensors of the fullest stage [-]

    Yields
    ------
    the operators

    References
    ----------
    Pascanu, Mikolov, Bengio (2013), On the Difficulty of Training Recurrent Neural Networks, ICML (clipping); NVIDIA
    Apex, multi_tensor_apply: all tensors in one kernel

    Examples
    --------
    >>> from perfmodel.layers import Pass
    >>> work = Training(global_batch=1, sequence_length=1)
    >>> for part in update(Model.load("llama-3.1-8b"), work, Parallel(dp=8), Pass(1, 1, 1), {"data": 8e9}, tensors=291):
    ...     print(part)
    Stream(name='gradient norm', bytes=4000000000.0, kind='optimizer', launches=2, joins=None)
    Collective(name='gradient norm', kind='all_reduce', payload=4, axis='everyone', copies=1, ...)
    Stream(name='optimizer', bytes=30000000000.0, kind='optimizer', launches=2, joins=None)
    """
    formats, optimizer = work.formats, OPTIMIZERS[work.optimizer]
    here, mine = 1 - work.offload.optimizer, own(parameters, layout, split=bool(layout.sharded))
    if work.offload.anything and not layout.reduces_every_pass:
        yield gradients_out(mine, work)
    read = formats.gradient_bytes if work.clip_gradients else 0
    if work.clip_gradients:  # tensors' norms, then the norm of these
        launches = 2 if work.fused_optimizer else tensors + 1
        yield Stream("gradient norm", here * mine * read, "optimizer", launches)
        yield Collective("gradient norm", "all_reduce", 4, "everyone" if layout.sharded else "model")
    copied = formats.weight_bytes + 2 * formats.master_bytes
    weight = copied if formats.master_bytes else 2 * formats.held_bytes
    states = mean_state_bytes(model, work, p)
    moved = formats.gradient_bytes + optimizer.state_passes * states + weight
    cast = formats.weight_bytes if formats.master_bytes and not work.fused_optimizer else 0
    launches = 2 if work.fused_optimizer else tensors  # the update, and the weights' copy in 16 bits
    yield Stream("optimizer", here * mine * (moved - cast), "optimizer", launches)
    if cast:  # the master copy is read again
        yield Stream("cast weights", here * mine * (formats.master_bytes + cast), "optimizer", tensors)
    yield from host_update(mine, work, moved=moved + read, states=states + formats.master_bytes)
