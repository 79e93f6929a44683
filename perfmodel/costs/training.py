"""Work of one optimizer step: micro-batches through a pipeline, gradients joined, weights updated."""

from __future__ import annotations

from typing import Any

from perfmodel.costs.base import Costs
from perfmodel.costs.memory import local_parameters, stage_memories
from perfmodel.costs.recompute import check_names, recomputed, recomputed_share
from perfmodel.costs.scope import check_scope
from perfmodel.costs.sharding import beside, joined, with_sharding
from perfmodel.costs.stages import Shares, fullest, shares
from perfmodel.costs.update import update
from perfmodel.layers import Pass
from perfmodel.model import Block, Model
from perfmodel.ops import minimum, where
from perfmodel.parallel import Parallel, groups
from perfmodel.work import Collective, Pipeline, Repeat, Serial, Work, flops, total
from perfmodel.workload import Training

__all__ = ["full_attention_flops", "training_costs", "training_pass"]


def training_pass(work: Training, layout: Parallel) -> Pass:
    """One micro-batch as one device sees it."""
    formats = work.formats
    return Pass(
        sequences=layout.micro_batch,
        queries=work.sequence_length,
        keys=work.sequence_length,
        tp=layout.tp,
        cp=layout.cp,
        sequence_parallel=layout.sequence_parallel,
        dtype=formats.dtype,
        core_dtype=formats.core_dtype,
        operand_bytes=formats.operand_bytes,
        element_bytes=formats.activation_bytes,
        gradient_bytes=formats.gradient_bytes,
        fused_attention=work.attention == "flash",
        dropout=work.dropout,
        overlap_tensor="tp" in layout.overlap,
        overlap_context="cp" in layout.overlap,
        kernels=work.kernels,
    )


def training_costs(model: Model, work: Training, layout: Parallel) -> Costs:
    """Everything one optimizer step asks of each device, counted.

    Parameters
    ----------
    model : what is trained
    work : the step
    layout : degrees of parallelism, dp set

    Returns
    -------
    tree of work, memory by stage, FLOPs

    References
    ----------
    Korthikanti et al. (2022), arXiv:2205.05198 (tensor, sequence and pipeline parallelism of a transformer);
    Rajbhandari et al. (2020), arXiv:1910.02054 (sharded states)
    """
    check_scope(model, work)
    check_names(model, work)
    p = training_pass(work, layout)
    step = _Step(model, work, layout, p)
    tree = Serial("training step", (step.pipeline(), *step.after()))
    whole = _whole_step(work, p)
    forward = total(model.forward(whole), flops)
    repeated = sum(
        block.repeat * total(_recomputed(block, work, whole, model), flops) for block in model.blocks
    )
    return Costs(
        tree=tree,
        memory=stage_memories(model, work, layout, p),
        model_flops=3 * forward,
        hardware_flops=3 * forward + repeated,
        tokens=work.global_batch * work.sequence_length,
        groups=groups(layout),
        dtype=p.dtype,
        core_dtype=p.core_dtype,
    )


def full_attention_flops(model: Model, work: Training, layout: Parallel) -> Any:
    """Model FLOPs of one step in the PaLM convention: attention over all positions, masked or not.

    Parameters
    ----------
    model, work, layout : the job

    Returns
    -------
    operations of the whole job [FLOP]

    References
    ----------
    Chowdhery et al. (2022), arXiv:2204.02311, appendix B
    """
    whole = _whole_step(work, training_pass(work, layout))
    return 3 * total(model.attending("full").forward(whole), flops)


def _whole_step(work: Training, p: Pass) -> Pass:
    """All sequences of the step on one imaginary device: what model FLOPs are counted on, whatever the kernels."""
    return p._replace(sequences=work.global_batch, tp=1, cp=1, sequence_parallel=False, fused_attention=True)


def _recomputed(block: Block, work: Training, p: Pass, model: Model) -> Work:
    """What backward computes again for one repetition of a block, mean over the repetitions."""
    again, share = recomputed(block, work, p, model.hidden).work, recomputed_share(model, work)
    return again if work.recompute_every == 1 else Repeat("recomputed layers", share, again)


class _Step:
    """The parts of one step; holds what they share."""

    def __init__(self, model: Model, work: Training, layout: Parallel, p: Pass) -> None:
        self.model, self.work, self.layout, self.pass_ = model, work, layout, p
        self.formats = work.formats
        self.share: Shares = shares(model.depth, layout.pp, layout.vpp)
        self.edges = minimum(layout.pp * layout.vpp / model.depth, 1)
        blocks = [self._block(block) for block in model.blocks]
        self.forward = Serial("forward", tuple(forward for forward, _ in blocks))
        self.backward = Serial("backward", tuple(backward for _, backward in reversed(blocks)))

    def _block(self, block: Block) -> tuple[Work, Work]:
        p, layers = self.pass_, block.layers
        forward = Serial("layer forward", tuple(layer.forward(p) for layer in layers))
        again = _recomputed(block, self.work, p, self.model)
        parts = (again, *(layer.backward(p) for layer in reversed(layers)))
        backward = Serial("layer backward", parts)
        size = local_parameters(layers, p.tp)
        return self._sharded(forward, backward, size, times=block.repeat, edges=block.repeat * self.edges)

    def _sharded(
        self, forward: Serial, backward: Serial, size: Any, *, times: Any, edges: Any
    ) -> tuple[Work, Work]:
        """Forward and backward of so many layers, with the messages of their states."""
        layout, formats = self.layout, self.formats
        return (
            with_sharding(forward, size, layout, formats, times=times, edges=edges),
            with_sharding(backward, size, layout, formats, times=times, edges=edges, backward=True),
        )

    def _ends(self, name: str, layers: tuple[Any, ...], *, edges: int) -> Work:
        p = self.pass_
        forward = Serial(name, tuple(layer.forward(p) for layer in layers))
        backward = Serial(name + " backward", tuple(layer.backward(p) for layer in reversed(layers)))
        size = local_parameters(layers, p.tp)
        return Serial(name, self._sharded(forward, backward, size, times=1, edges=edges))

    def pipeline(self) -> Work:
        """All micro-batches through all stages."""
        layout, body = self.layout, Serial("layers", (self.forward, self.backward))
        return Pipeline(
            "micro-batches",
            entry=self._ends("entry", self.model.entry, edges=1),
            body=body,
            exit=self._ends("exit", self.model.exit, edges=0),
            send=self._send(body),
            stages=layout.pp,
            chunks=layout.vpp,
            micro_batches=layout.micro_batches(self.work.global_batch),
            **self.share._asdict(),
        )

    def _send(self, body: Work) -> Work:
        """Activations to the next stage and gradients back, once a chunk; hidden where the pipeline interleaves.

        Each tensor rank sends its share, and the receivers gather it again where the tensor is not sharded anyway
        (Narayanan et al. 2021, arXiv:2104.04473, section 4.1).
        """
        p, layout = self.pass_, self.layout
        whole = p.tokens * self.model.hidden * p.element_bytes
        gather = () if p.sequence_parallel else (Collective("gather received", "all_gather", whole, "tp"),)
        both = tuple(
            Serial(f"send {what}", (Collective(f"send {what}", "send", whole / p.tp, "pp"), *gather))
            for what in ("activations", "gradients")
        )
        sends = Repeat("pp sends", layout.vpp * minimum(layout.pp - 1, 1), Serial("pp sends", both))
        interleaved = where(layout.vpp > 1, 1.0, 0.0)
        return beside(
            layout, "pp sends", sends, Repeat("layers", interleaved * self.share.middle, body), "pp"
        )

    def after(self) -> tuple[Work, ...]:
        """What follows once a step: gradients joined, weights updated."""
        p, share = self.pass_, self.share.middle
        entry, leave = (local_parameters(part, p.tp) for part in (self.model.entry, self.model.exit))
        body = sum(block.repeat * local_parameters(block.layers, p.tp) for block in self.model.blocks)
        parameters = fullest(entry, body, leave, self.share, self.layout.pp)
        forward, backward = Repeat("forward", share, self.forward), Repeat("backward", share, self.backward)
        return (
            *joined(parameters, self.layout, self.formats, forward=forward, backward=backward),
            *update(self.model, self.work, self.layout, p, parameters),
        )
