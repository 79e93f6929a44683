"""Work of one optimizer step: micro-batches through a pipeline, gradients joined, weights updated."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from perfmodel.costs.base import Costs
from perfmodel.costs.entering import tokens_of_step, training_pass, whole_step
from perfmodel.costs.experts import beside_another
from perfmodel.costs.memory import stage_memories
from perfmodel.costs.offload import with_copies
from perfmodel.costs.packing import packed, quantised_once
from perfmodel.costs.parameters import Held, summed
from perfmodel.costs.parts import Part, parts, training_flops
from perfmodel.costs.recompute import Again, check_names, recomputed, recomputed_share
from perfmodel.costs.sharding import joined, with_sharding
from perfmodel.costs.stages import deal
from perfmodel.costs.update import update
from perfmodel.layers import Pass
from perfmodel.model import Model
from perfmodel.ops import added, greater, minimum, where
from perfmodel.parallel import Parallel, groups
from perfmodel.work import Collective, Pipeline, Repeat, Serial, Work, flops, total
from perfmodel.workload import Training

__all__ = ["full_attention_flops", "training_costs"]


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
    p = training_pass(model, work, layout)
    step = _Step(model, work, layout, p)
    tree = Serial("training step", (step.pipeline(), *step.after()))
    whole = parts(model, whole_step(work, p))
    counted = training_flops(whole)
    repeated = added(
        block.repeat * total(_repeated(recomputed(block, work), work, model), flops) for block in whole.blocks
    )
    return Costs(
        tree=tree,
        memory=stage_memories(model, work, layout, p, found=step.parts, again=step.again, stages=step.stages),
        model_flops=counted,
        hardware_flops=counted + repeated,
        samples=work.global_batch,
        tokens=tokens_of_step(model, work),
        entered=p,
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
    whole = whole_step(work, training_pass(model, work, layout))
    return training_flops(parts(model.attending("full"), whole))


def _repeated(again: Again, work: Training, model: Model) -> Work:
    """What backward computes again for one repetition of a block, mean over the repetitions."""
    if work.recompute_every == 1:
        return again.work
    return Repeat("recomputed layers", recomputed_share(model, work), again.work)


class _Step:
    """The parts of one step; holds what they share."""

    def __init__(self, model: Model, work: Training, layout: Parallel, p: Pass) -> None:
        self.model, self.work, self.layout, self.pass_ = model, work, layout, p
        self.formats = work.formats
        self.parts = parts(model, p)
        check_names(self.parts, work)
        self.stages = deal(model.depth, layout)
        self.passes = layout.micro_batches(work.global_batch)
        self.edges = minimum(layout.pp * layout.vpp / added(block.repeat for block in self.parts.blocks), 1)
        self.again = tuple(recomputed(block, work) for block in self.parts.blocks)
        blocks = [self._block(*pair) for pair in zip(self.parts.blocks, self.again, strict=True)]
        self.forward = Serial("forward", tuple(forward for forward, _ in blocks))
        self.backward = Serial("backward", tuple(backward for _, backward in reversed(blocks)))

    def _block(self, block: Part, again: Again) -> tuple[Work, Work]:
        moved = again.moved * recomputed_share(self.model, self.work)
        forward = Serial("layer forward", block.forward())
        repeated = _repeated(again, self.work, self.model)
        backward = Serial("layer backward", (repeated, *block.backward()))
        if "ep" in self.layout.overlap and any(layer.routes for layer in block.plain):
            forward, backward = beside_another(forward, backward, self.passes)
        times = block.repeat
        forward, backward = self._packed(forward, backward, block.parameters, products=True)
        copied = self._copied(forward, backward, block.parameters, activations=moved)
        return self._sharded(*copied, block.parameters, times=times, edges=times * self.edges)

    def _packed(
        self, forward: Serial, backward: Serial, size: Held, *, products: bool
    ) -> tuple[Serial, Serial]:
        """Forward and backward of a layer, with what becomes of sharded weights and gradients on their way."""
        job, layout = self.work, self.layout
        return (
            packed(forward, size, job, layout, products=products, backward=False),
            packed(backward, size, job, layout, products=products, backward=True),
        )

    def _copied(
        self, forward: Serial, backward: Serial, size: Held, activations: Any = 0
    ) -> tuple[Serial, Serial]:
        """Forward and backward of a layer, with its copies to and from the host."""
        moved: dict[str, Any] = {"activations": activations, "parameters": size}
        work, layout = self.work, self.layout
        return (
            with_copies(forward, work, layout, **moved),
            with_copies(backward, work, layout, **moved, backward=True),
        )

    def _sharded(
        self, forward: Serial, backward: Serial, size: Held, *, times: Any, edges: Any
    ) -> tuple[Work, Work]:
        """Forward and backward of so many layers, with the messages of their states."""
        layout, formats = self.layout, self.formats
        return (
            with_sharding(forward, size, layout, formats, times=times, edges=edges),
            with_sharding(backward, size, layout, formats, times=times, edges=edges, backward=True),
        )

    def _end(self, name: str, part: Part, *, edges: int) -> Work:
        forward, backward = Serial(name, part.forward()), Serial(name + " backward", part.backward())
        packs = self._packed(forward, backward, part.parameters, products=False)
        copied = self._copied(*packs, part.parameters)
        return Serial(name, self._sharded(*copied, part.parameters, times=1, edges=edges))

    def pipeline(self) -> Work:
        """All micro-batches through all stages."""
        layout, body = self.layout, Serial("layers", (self.forward, self.backward))
        return Pipeline(
            "micro-batches",
            entry=self._end("entry", self.parts.entry, edges=1),
            body=body,
            exit=self._end("exit", self.parts.exit, edges=0),
            send=self._send(),
            stages=layout.pp,
            chunks=layout.vpp,
            micro_batches=self.passes,
            held=self.stages,
            schedule=layout.pipeline_schedule,
            hides=self._hides,
        )

    def _send(self) -> Work:
        """Activations to the next stage and gradients back, once a chunk.

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
        return Repeat("pp sends", layout.vpp * minimum(layout.pp - 1, 1), Serial("pp sends", both))

    @cached_property
    def _hides(self) -> Any:
        """Whether sends may run beside compute: plain 1F1B has nothing else to do while it waits for its neighbours."""
        if "pp" not in self.layout.overlap:
            return 0.0
        return (
            where(greater(self.layout.vpp, 1), 1.0, 0.0) if self.layout.pipeline_schedule == "1f1b" else 1.0
        )

    def after(self) -> tuple[Work, ...]:
        """What follows once a step: gradients joined, weights updated."""
        own = added(self.parts.body_parameters().values()) * self.stages.middle.share
        return (
            *quantised_once(own, self.work, self.layout),
            *self._joined(),
            *self._tied(),
            *update(self.model, self.work, self.layout, self.pass_, self._held, tensors=self._tensors),
        )

    @cached_property
    def _held(self) -> Held:
        """Parameters that each group holds alike, of the stage with most of them; not always the same stage [-]."""
        amounts = (self.parts.entry.parameters, self.parts.body_parameters(), self.parts.exit.parameters)
        found: Held = {}
        for group in summed((1, part) for part in amounts):
            sizes = [part.get(group, 0) for part in amounts]
            found[group] = self.stages.fullest(*sizes).of(*sizes)
        return found

    @property
    def _tensors(self) -> Any:
        """Parameter tensors of the stage with most of them [-]."""
        sizes = (
            self.parts.entry.tensors,
            added(b.copies * b.tensors for b in self.parts.blocks),
            self.parts.exit.tensors,
        )
        return self.stages.fullest(*sizes).of(*sizes)

    def _joined(self) -> tuple[Work, ...]:
        """Gradients joined and weights handed back, beside the last micro-batch's backward and the first's forward.

        With several chunks, those of one chunk travel while the others have their round of micro-batches (Megatron-LM's
        grad_sync_func and param_sync_func); gradients and activations that are sent then come first.
        """
        layout, share = self.layout, self.stages.middle.share
        rounds = (1 + layout.pp * (layout.vpp - 1)) / layout.vpp
        sends = Repeat("sends", rounds * self._hides / 2, self._send())
        return joined(
            self._held,
            layout,
            self.work.formats,
            forward=Repeat("forward", rounds * share, self.forward),
            backward=Repeat("backward", rounds * share, self.backward),
            taken=sends,
        )

    def _tied(self) -> tuple[Work, ...]:
        """The gradient of a tied table, joined between the first and the last stage, which both hold it.

        References
        ----------
        Shoeybi et al. (2019), Megatron-LM, arXiv:1909.08053; Narayanan et al. (2021), arXiv:2104.04473
        """
        head, layout = self.model.head, self.layout
        if head is None or not head.tied or layout.folded:
            return ()
        table = head.replace(tied=False, bias=False).local_parameters(self.pass_.tp)
        size = table * self.work.formats.gradient_bytes
        held = layout.state_ranks if "gradients" in layout.sharded else 1
        return (Collective("tied embedding gradients", "all_reduce", size / held, "ends"),)
