"""Rules of a valid layout, each written once for one layout and for columns of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from perfmodel.layers import MixtureOfExperts, SelfAttention
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.ops import certain
from perfmodel.parallel.axes import AXES
from perfmodel.parallel.breach import Breach
from perfmodel.parallel.degrees import Degrees
from perfmodel.parallel.pipeline_rules import (
    batch_divides,
    chunk_has_layer,
    ends_leave_equal_stages,
    interleaving_has_stages,
    pipeline_has_one_stream,
    schedule_fits,
)
from perfmodel.parallel.serving_rules import (
    batch_reaches_replicas,
    context_is_known,
    generated_by_a_decoder,
    one_chunk_a_stage,
    sequences_are_whole,
    split_caches_are_copies,
)

if TYPE_CHECKING:
    from perfmodel.model import Block, Model
    from perfmodel.workload import Training

__all__ = ["RULES", "SERVING_RULES", "devices_multiply"]

_HEADED = (SelfAttention, LatentAttention)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, min(number, 4096) + 1) if number % n == 0]


def _choices(valid: list[int], value: int) -> str:
    listed = ", ".join(map(str, valid[:12])) + (", …" if len(valid) > 12 else "")
    return f"valid: {listed}; nearest: {min(valid, key=lambda n: (abs(n - value), n))}"


def devices_multiply(layout: Degrees, devices: Any) -> Iterator[Breach]:
    """The degrees multiply to the devices.

    Parameters
    ----------
    layout : dp set, or left to follow
    devices : of the cluster [-]
    """
    replica, dp = layout.replica, layout.dp

    def told() -> str:
        near = max(devices // replica, 1) * replica
        return (
            f"tp · pp · cp = {layout.tp} · {layout.pp} · {layout.cp} = {replica} does not divide {devices} devices; "
            f"nearest: {near} devices"
        )

    yield Breach(devices % replica != 0, "tp · pp · cp does not divide the devices", told)
    if dp is None:
        return
    yield Breach(
        (devices % replica == 0) & (dp != devices // replica),
        "tp · pp · cp · dp is not the number of devices",
        lambda: (
            f"tp · pp · cp · dp = {replica} · {dp} = {replica * dp}, but the cluster has "
            f"{devices} devices; dp = {devices // replica} fits, or leave dp out and it follows"
        ),
    )


def _not_a_divisor(name: str, ranks: Any, size: int, what: str) -> Breach:
    """So many ranks do not divide a size of the model."""
    return Breach(
        size % ranks != 0,
        f"{name} does not divide the {what}",
        lambda: f"{name} = {ranks} does not divide the {size} {what}; {_choices(_divisors(size), ranks)}",
    )


def tensor_divides(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Every tensor-parallel rank gets whole heads and whole columns."""
    layers = [layer for layer, _ in model.layers()]
    apart = {limit for layer in layers for limit in layer.expert_limits()}
    limits = dict.fromkeys(limit for layer in layers for limit in layer.tensor_limits())
    for what, size in limits:
        name, ranks = ("tp", layout.tp) if (what, size) not in apart else _expert_tensor(layout)
        yield _not_a_divisor(name, ranks, size, what)


def _expert_tensor(layout: Degrees) -> tuple[str, Any]:
    """The tensor-parallel degree inside an expert, and the field that it comes from."""
    return "tp" if layout.expert_tp is None else "expert_tp", layout.tp_in_experts


def experts_are_shared(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Every expert-parallel rank gets whole experts, and there are experts to share."""
    sizes = sorted({layer.experts for layer, _ in model.layers() if isinstance(layer, MixtureOfExperts)})
    if not sizes:
        yield _no_experts("ep", layout.ep, "1")
        yield _no_experts("expert_tp", 1 if layout.expert_tp is None else layout.expert_tp, "none")
    for experts in sizes:
        yield _not_a_divisor("ep", layout.ep, experts, "routed experts")


def _no_experts(name: str, ranks: Any, nearest: str) -> Breach:
    return Breach(
        ranks > 1,
        f"{name} shares routed experts, and the model has none",
        lambda: (
            f"{name} = {ranks} shares routed experts, and the model has none; nearest: {name} = {nearest}"
        ),
    )


def experts_fit_a_stage(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Expert-parallel ranks and those that share an expert are carved out of one stage's."""
    ranks: Any = layout.tp * layout.cp * layout.dp  # type: ignore[operator]  # dp is set
    name, columns = _expert_tensor(layout)
    yield Breach(
        ranks % columns != 0,
        f"{name} does not divide the ranks of a stage",
        lambda: (
            f"{name} = {columns} does not divide the tp · cp · dp = {ranks} ranks of a stage; "
            f"{_choices(_divisors(ranks), columns)}"
        ),
    )
    yield Breach(
        (ranks % columns == 0) & (ranks % (layout.ep * columns) != 0),
        "ep does not divide the ranks of a stage",
        lambda: (
            f"ep = {layout.ep}, with {columns} ranks an expert, does not divide the tp · cp · dp = {ranks} ranks of a "
            f"stage; {_choices(_divisors(ranks // columns), layout.ep)}"
        ),
    )


def tensor_fits_key_values(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Key-value heads are divided, or each is copied to a whole number of ranks."""
    for heads in sorted({getattr(layer, "kv_heads", 1) for layer, _ in model.layers()}):
        yield _no_share_of(heads, layout.tp)


def _no_share_of(heads: int, tp: Any) -> Breach:
    def told() -> str:
        valid = sorted({*_divisors(heads), *(heads * n for n in range(1, 9))})
        return (
            f"tp = {tp} neither divides the {heads} key-value heads nor is a multiple of them; "
            f"{_choices(valid, tp)}"
        )

    broken = (heads % tp != 0) & (tp % heads != 0)
    return Breach(broken, "tp neither divides the key-value heads nor is a multiple of them", told)


def heads_fit_context(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Where tokens change places with heads, every context-parallel rank gets whole heads."""
    if layout.context != "ulysses":
        return
    for heads in sorted({layer.heads for layer, _ in model.layers() if isinstance(layer, _HEADED)}):
        yield _too_few_heads(heads, layout.tp, layout.cp)


def _too_few_heads(heads: int, tp: Any, cp: Any) -> Breach:
    def told() -> str:
        valid = [cp for cp in _divisors(heads) if heads % (tp * cp) == 0]
        return (
            f"context = 'ulysses' gives heads to tp · cp = {tp} · {cp} = {tp * cp} "
            f"ranks, which does not divide the {heads} attention heads; "
            + (f"{_choices(valid, cp)} for cp" if valid else "nearest: context = 'ring'")
        )

    broken = (cp != 1) & (heads % (tp * cp) != 0)
    return Breach(broken, "context = 'ulysses': tp · cp does not divide the attention heads", told)


def order_suits_experts(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Experts are dealt to neighbours of one stage, in the usual order of placement."""
    if layout.order == AXES:
        return
    yield Breach(
        layout.ep > 1,
        "ep needs the usual order of placement",
        lambda: (
            f"order = {', '.join(layout.order)} with ep = {layout.ep}, but experts are dealt to the ranks of a stage "
            f"as the usual order has them; nearest: order = {', '.join(AXES)}"
        ),
    )


def shards_divide(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Every copy of the states has as many shards."""
    if layout.shards is None:
        return
    ranks: Any = layout.dp * layout.cp  # type: ignore[operator]  # dp is set
    yield Breach(
        ranks % layout.shards != 0,
        "shards does not divide the ranks that share gradients",
        lambda: (
            f"shards = {layout.shards} does not divide the dp · cp = {layout.dp} · {layout.cp} = {ranks} ranks that "
            f"share gradients; {_choices(_divisors(ranks), layout.shards)}"  # type: ignore[arg-type]  # is set
        ),
    )


def tensor_has_something_to_split(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Some layer is dealt to the tensor-parallel ranks, and none needs its whole image or signal between them."""
    if not layout.sequence_parallel and certain(layout.tp == 1):
        return
    if not any(weight.split == "tp" for weight, _ in model.weights()):
        why, told = "no layer is split by it", f"no layer of {model.name} is split by tensor parallelism"
    elif any(layer.resizes for block in _blocks(model) for layer in block.layers):
        why = "the model works on images between its blocks"
        told = f"{model.name} works on images between its blocks, which every rank would hold whole"
    else:
        return
    asked = (layout.tp != 1) | layout.sequence_parallel
    yield Breach(asked, f"tp: {why}", lambda: f"tp = {layout.tp}, but {told}; valid: tp = 1")


def context_is_one_sequence(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Context parallelism cuts one sequence of tokens, whose layers can be computed in pieces."""
    if certain(layout.cp == 1):
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
        yield Breach(
            layout.cp != 1,
            f"cp cuts sequences of tokens, but the model {why}",
            lambda: f"cp = {layout.cp} cuts sequences of tokens, but {model.name} {why}; valid: cp = 1",
        )


def _blocks(model: Model) -> Iterator[Block]:
    if model.source is not None:
        yield from _blocks(model.source)
    yield from model.blocks


def caches_are_of_inference(layout: Degrees, model: Model, work: Training) -> Iterator[Breach]:
    """Training keeps no keys and values for later tokens."""
    yield Breach(
        layout.kv_split != 1,
        "kv_split splits caches, and training has none",
        lambda: f"kv_split = {layout.kv_split} splits caches, and training has none; nearest: kv_split = 1",
    )


RULES: tuple[Callable[[Degrees, Model, Training], Iterator[Breach]], ...] = (
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
    caches_are_of_inference,
)
"""Rules of a valid layout. Each yields a sentence for what breaks it: rule, numbers, valid choices, nearest one."""

SERVING_RULES: tuple[Callable[..., Iterator[Breach]], ...] = (
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
    split_caches_are_copies,
    one_chunk_a_stage,
    sequences_are_whole,
    generated_by_a_decoder,
    context_is_known,
)
"""Those of inference and serving, where nothing goes backward."""
