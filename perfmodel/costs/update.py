"""The optimizer's step: this device's part of the weights updated."""

from __future__ import annotations

from perfmodel.costs.offload import gradients_out, host_update
from perfmodel.costs.parameters import Held, own
from perfmodel.costs.states import mean_state_bytes
from perfmodel.layers import Pass
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.work import Stream, Work
from perfmodel.workload import OPTIMIZERS, Training

__all__ = ["update"]


def update(model: Model, work: Training, layout: Parallel, p: Pass, parameters: Held) -> tuple[Work, ...]:
    """The update of this device's part of the weights, and the norm that clips the gradient.

    Parameters
    ----------
    model, work, layout : the job
    p : one micro-batch as one device sees it
    parameters : of the fullest stage on one rank, by the ranks that hold the same [-]

    Returns
    -------
    the operators
    """
    formats, optimizer = work.formats, OPTIMIZERS[work.optimizer]
    copied = formats.weight_bytes + 2 * formats.master_bytes
    weight = copied if formats.master_bytes else 2 * formats.held_bytes
    states = mean_state_bytes(model, work, p)
    moved = 2 * formats.gradient_bytes + optimizer.state_passes * states + weight
    here, mine = 1 - work.offload.optimizer, own(parameters, layout, split=bool(layout.sharded))
    late = work.offload.anything and not layout.reduces_every_pass
    return (
        *((gradients_out(mine, work),) if late else ()),
        Stream("optimizer", here * mine * moved, "optimizer", 4),
        *host_update(mine, work, moved=moved, states=states + formats.master_bytes),
    )
