"""Rules of a valid layout. Each yields a sentence for what breaks it: rule, numbers, valid choices, nearest one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from perfmodel.errors import InputError
from perfmodel.layers import MixtureOfExperts, SelfAttention
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.parallel.axes import AXES
from perfmodel.parallel.degrees import Degrees
from perfmodel.parallel.serving_rules import (
    batch_reaches_replicas,
    context_is_known,
    one_chunk_a_stage,
    sequences_are_whole,
)
from perfmodel.schedules import schedule_class

if TYPE_CHECKING:
    from perfmodel.model import Block, Model
    from perfmodel.workload import Training

__all__ = ["RULES", "SERVING_RULES"]

_HEADED = (SelfAttention, LatentAttention)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, min(number, 4096) + 1) if number % n == 0]


def _choices(valid: list[int], value: int) -> str:
    listed = ", ".join(map(str, valid[:12])) + (", …" if len(valid) > 12 else "")
    return f"valid: {listed}; nearest: {min(valid, key=lambda n: (abs(n - value), n))}"


def tensor_divides(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Every tensor-parallel rank gets whole heads and whole columns."""
    layers = [layer for layer, _ in model.layers()]
    apart = {limit for layer in layers for limit in layer.expert_limits()}
    limits = dict.fromkeys(limit for layer in layers for limit in layer.tensor_limits())
    for what, size in limits:
        name, ranks = ("tp", layout.tp) if (what, size) not in apart else _expert_tensor(layout)
        if size % ranks:
            yield f"{name} = {ranks} does not divide the {size} {what}; {_choices(_divisors(size), ranks)}"


def _expert_tensor(layout: Degrees) -> tuple[str, int]:
    """The tensor-parallel degree inside an expert, and the field that it comes from."""
    return "tp" if layout.expert_tp is None else "expert_tp", layout.tp_in_experts


def experts_are_shared(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Every expert-parallel rank gets whole experts, and there are experts to share."""
    sizes = sorted({layer.experts for layer, _ in model.layers() if isinstance(layer, MixtureOfExperts)})
    if not sizes:
        for name, value, nearest in (("ep", layout.ep, "1"), ("expert_tp", layout.expert_tp or 1, "none")):
            if value > 1:
                yield f"{name} = {value} shares routed experts, and the model has none; nearest: {name} = {nearest}"
    for experts in sizes:
        if experts % layout.ep:
            choices = _choices(_divisors(experts), layout.ep)
            yield f"ep = {layout.ep} does not divide the {experts} routed experts; {choices}"


def experts_fit_a_stage(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Expert-parallel ranks and those that share an expert are carved out of one stage's."""
    ranks: int = layout.tp * layout.cp * layout.dp  # type: ignore[operator]  # dp is set
    name, columns = _expert_tensor(layout)
    if ranks % columns:
        choices = _choices(_divisors(ranks), columns)
        yield f"{name} = {columns} does not divide the tp · cp · dp = {ranks} ranks of a stage; {choices}"
    elif ranks % (layout.ep * columns):
        choices = _choices(_divisors(ranks // columns), layout.ep)
        yield (
            f"ep = {layout.ep}, with {columns} ranks an expert, does not divide the tp · cp · dp = {ranks} ranks of a "
            f"stage; {choices}"
        )


def tensor_fits_key_values(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Key-value heads are divided, or each is copied to a whole number of ranks."""
    for heads in sorted({getattr(layer, "kv_heads", 1) for layer, _ in model.layers()}):
        if heads % layout.tp and layout.tp % heads:
            valid = sorted({*_divisors(heads), *(heads * n for n in range(1, 9))})
            yield (
                f"tp = {layout.tp} neither divides the {heads} key-value heads nor is a multiple of them; "
                f"{_choices(valid, layout.tp)}"
            )


def heads_fit_context(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Where tokens change places with heads, every context-parallel rank gets whole heads."""
    if layout.context != "ulysses" or layout.cp == 1:
        return
    for heads in sorted({layer.heads for layer, _ in model.layers() if isinstance(layer, _HEADED)}):
        if heads % (layout.tp * layout.cp):
            valid = [cp for cp in _divisors(heads) if heads % (layout.tp * cp) == 0]
            yield (
                f"context = 'ulysses' gives heads to tp · cp = {layout.tp} · {layout.cp} = {layout.tp * layout.cp} "
                f"ranks, which does not divide the {heads} attention heads; "
                + (f"{_choices(valid, layout.cp)} for cp" if valid else "nearest: context = 'ring'")
            )


def order_suits_experts(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Experts are dealt to neighbours of one stage, in the usual order of placement."""
    if layout.ep > 1 and layout.order != AXES:
        yield (
            f"order = {', '.join(layout.order)} with ep = {layout.ep}, but experts are dealt to the ranks of a stage "
            f"as the usual order has them; nearest: order = {', '.join(AXES)}"
        )


def chunk_has_layer(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Every chunk of every stage holds a layer; embedding and head may stand in for one each."""
    chunks, depth = layout.pp * layout.vpp, model.depth
    if chunks > depth + (2 if layout.pp > 1 else 0):
        pp = min(layout.pp, depth)
        yield (
            f"pp · vpp = {layout.pp} · {layout.vpp} = {chunks} needs a layer for every chunk, and the model has "
            f"{depth}; valid: pp · vpp up to {depth}; nearest: pp = {pp}, vpp = {depth // pp}"
        )


def interleaving_has_stages(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Interleaving needs a pipeline, and micro-batches in rounds of its stages."""
    if layout.vpp == 1:
        return
    if layout.pp == 1:
        yield f"vpp = {layout.vpp} interleaves the chunks of several stages, and pp = 1; nearest: vpp = 1"
    if layout.schedule not in ("auto", "interleaved-1f1b"):
        return
    passes, rest = divmod(work.global_batch, layout.dp * layout.micro_batch)  # type: ignore[operator]
    if layout.pp > 1 and not rest and passes % layout.pp:
        near = max(passes // layout.pp, 1) * layout.pp * layout.dp * layout.micro_batch  # type: ignore[operator]
        yield (
            f"vpp = {layout.vpp} takes micro-batches in rounds of pp = {layout.pp}, which does not divide "
            f"{passes}; nearest: global_batch = {near}, or vpp = 1"
        )


def batch_divides(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """The global batch is a whole number of micro-batches on every data-parallel rank."""
    one: int = layout.dp * layout.micro_batch  # type: ignore[operator]
    if work.global_batch % one:
        near = max(round(work.global_batch / one), 1) * one
        yield (
            f"dp · micro_batch = {layout.dp} · {layout.micro_batch} = {one} does not divide the global batch "
            f"{work.global_batch}; nearest: global_batch = {near}"
        )


def shards_divide(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Every copy of the states has as many shards."""
    ranks: int = layout.dp * layout.cp  # type: ignore[operator]
    if layout.shards is not None and ranks % layout.shards:
        yield (
            f"shards = {layout.shards} does not divide the dp · cp = {layout.dp} · {layout.cp} = {ranks} ranks that "
            f"share gradients; {_choices(_divisors(ranks), layout.shards)}"
        )


def tensor_has_something_to_split(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Some layer is dealt to the tensor-parallel ranks, and none needs its whole image or signal between them."""
    if layout.tp == 1 and not layout.sequence_parallel:
        return
    if not any(weight.split == "tp" for weight, _ in model.weights()):
        yield f"tp = {layout.tp}, but no layer of {model.name} is split by tensor parallelism; valid: tp = 1"
    elif any(layer.resizes for block in _blocks(model) for layer in block.layers):
        yield (
            f"tp = {layout.tp}, but {model.name} works on images between its blocks, which every rank would hold "
            "whole; valid: tp = 1"
        )


def context_is_one_sequence(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Context parallelism cuts one sequence of tokens, whose layers can be computed in pieces."""
    if layout.cp == 1:
        return
    why = ""
    if model.source is not None:
        why = "reads a source beside its own sequence"
    elif any(layer.resizes for layer, _ in model.layers()) and model.input != "tokens":
        why = f"reads {'an image' if model.input == 'image' else 'a signal'}"
    elif model.fixed_length == 1:
        why = "has no sequences"
    elif any(layer.sequential for layer, _ in model.layers()):
        why = "works position by position"
    if why:
        yield f"cp = {layout.cp} cuts sequences of tokens, but {model.name} {why}; valid: cp = 1"


def pipeline_has_one_stream(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """A pipeline hands one tensor from stage to stage, and each stage holds weights of its own."""
    if layout.pp == 1:
        return
    why = ""
    if model.source is not None:
        why = "reads a source at every layer"
    elif any(block.shared for block in model.blocks):
        why = "has layers that share their weights"
    elif not model.hidden or any(layer.resizes for block in model.blocks for layer in block.layers):
        why = "has no stream of one width between its layers"
    if why:
        yield f"pp = {layout.pp} hands one stream from stage to stage, but {model.name} {why}; valid: pp = 1"


def _blocks(model: Model) -> Iterator[Block]:
    if model.source is not None:
        yield from _blocks(model.source)
    yield from model.blocks


def schedule_fits(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """A named schedule takes so many chunks and micro-batches."""
    passes, rest = divmod(work.global_batch, layout.dp * layout.micro_batch)  # type: ignore[operator]
    if layout.schedule == "auto" or layout.pp == 1 or rest:
        return
    kind = schedule_class(layout.schedule)
    if kind.chunks_needed not in (None, layout.vpp):
        yield (
            f"schedule = {kind.name!r} has {kind.chunks_needed} chunks a stage, and vpp = {layout.vpp}; "
            f"nearest: vpp = {kind.chunks_needed}"
        )
    elif kind.name not in ("1f1b", "interleaved-1f1b"):  # these have rules of their own here, and fewer
        try:
            kind(stages=layout.pp, micro_batches=passes, chunks=layout.vpp)
        except InputError as error:
            yield from (f"schedule = {kind.name!r}: {fault}" for fault in error.faults)


def ends_leave_equal_stages(layout: Degrees, model: Model, work: Training) -> Iterator[str]:
    """Stages between ends of a given size share the other layers evenly, and each divides into its chunks."""
    fields = ("first_stage_layers", "last_stage_layers")
    given = {name: value for name in fields if (value := getattr(layout, name)) is not None}
    if not given:
        return
    told = ", ".join(f"{name} = {value}" for name, value in given.items())
    free = f"nearest: {' and '.join(f'{name} = None' for name in given)}, all dealt evenly"
    others, rest = layout.pp - len(given), model.depth - sum(given.values())
    if layout.pp == 1 or layout.folded:
        why = "one stage holds all layers" if layout.pp == 1 else f"{layout.schedule} deals its chunks evenly"
        yield f"{told}, but {why}; {free}"
    elif rest < 0 or (rest % (others * layout.vpp) if others else rest):
        yield (
            f"{told} leave {rest} of {model.depth} layers to {others} stages of vpp = {layout.vpp} chunks, which must "
            f"share them evenly; {free}"
        )
    elif any(value % layout.vpp for value in given.values()):
        yield f"{told} must divide into vpp = {layout.vpp} chunks; {free}"


RULES: tuple[Callable[[Degrees, Model, Training], Iterator[str]], ...] = (
    tensor_divides,
    experts_are_shared,
    experts_fit_a_stage,
    tensor_fits_key_values,
    heads_fit_context,
    order_suits_experts,
    tensor_has_something_to_split,
    context_is_one_sequence,
    pipeline_has_one_stream,
    chunk_has_layer,
    interleaving_has_stages,
    batch_divides,
    shards_divide,
    schedule_fits,
    ends_leave_equal_stages,
)
"""Rules of a valid layout. Each yields a sentence for what breaks it: rule, numbers, valid choices, nearest one."""

SERVING_RULES: tuple[Callable[..., Iterator[str]], ...] = (
    tensor_divides,
    experts_are_shared,
    experts_fit_a_stage,
    tensor_fits_key_values,
    heads_fit_context,
    order_suits_experts,
    tensor_has_something_to_split,
    context_is_one_sequence,
    pipeline_has_one_stream,
    chunk_has_layer,
    ends_leave_equal_stages,
    batch_reaches_replicas,
    one_chunk_a_stage,
    sequences_are_whole,
    context_is_known,
)
"""Those of inference and serving, where nothing goes backward."""
