"""Work of one batch: the prompts through the model, then one token of each sequence at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.costs.adapters import beside_adapters
from perfmodel.costs.casting import cast_weights
from perfmodel.costs.entering import entering, sample_length
from perfmodel.costs.parts import Part, parts
from perfmodel.costs.serving_memory import Footprint, cache_bytes, footprints
from perfmodel.formulas.pipeline import queued_parts
from perfmodel.layers import Pass
from perfmodel.model import Model
from perfmodel.ops import ceil, certain, floor, greater, log2, maximum, minimum, power, where
from perfmodel.parallel import Parallel, Ranks, groups
from perfmodel.work import Collective, Leaf, Repeat, Serial, Transfer, Work, flops, held_bytes, kernels, total
from perfmodel.workload import Inference, Served

__all__ = [
    "InferenceCosts", "decode_pass", "decode_step", "forward", "inference_costs", "parts_of", "prefill_pass",
    "prompts", "through_stages",
]  # fmt: skip


class InferenceCosts(NamedTuple):
    """Demands of one batch, per device.

    Parameters
    ----------
    prefill : a replica's prompts; None where decode begins with an empty context
    decode : one step of a replica's batch at the mean context; None where no token follows
    steps : of decode [-]
    memory : one entry for each kind of pipeline stage: first, middle, last
    prefill_flops, decode_flops : of all prompts that run together, and of one step of decode [FLOP]
    held : weights, keys and values that each device reads in a step of decode [B]
    samples : sequences or images that run together, on all replicas [-]
    entered : a prompt's pass as it enters the model
    groups : the ranks of each axis
    dtype, core_dtype : number formats of linear layers, and of attention and head
    """

    prefill: Work | None
    decode: Work | None
    steps: Any
    memory: tuple[Footprint, ...]
    prefill_flops: Any
    decode_flops: Any
    held: Any
    samples: Any
    entered: Pass
    groups: dict[str, Ranks]
    dtype: str
    core_dtype: str


def inference_costs(
    model: Model,
    work: Inference,
    layout: Parallel,
    *,
    pipelined: bool = True,
    part_tokens: int | None = None,
    reserved: bool = True,
    pass_tokens: Any = None,
    together: Any = None,
    queued: int | None = None,
    parts_in_flight: int | None = None,
) -> InferenceCosts:
    """Everything that a batch, or the part of it that runs together, asks of each device, counted.

    Parameters
    ----------
    model : what is run
    work : the batch
    layout : degrees of parallelism, dp set
    pipelined : a pipeline has a part of the batch in every stage; else one at a time
    part_tokens : see `parts_of` [-]
    reserved : the cache keeps every position, also those that a window has passed
    pass_tokens : most tokens that the engine takes into one pass, whose activations are alive together; None is all [-]
    together : sequences of a replica that run together; None is all [-]
    queued, parts_in_flight : see `EngineRecipe`

    Returns
    -------
    trees of work, memory by stage, FLOPs

    References
    ----------
    Pope et al. (2022), Efficiently Scaling Transformer Inference, arXiv:2211.05102
    """
    samples: Any = work.batch if together is None else together * layout.dp
    replica: Any = samples / layout.dp
    passes: Any = work.passes
    streams: Any = work.passes
    if passes is None:
        length = sample_length(model, work, "input_length", usual=1024) - work.cached_length
        stages = layout.pp if pipelined else 1
        passes, streams = (parts_of(replica, stages, each, part_tokens) for each in (length, 1.0))
    prompt = prefill_pass(model, work, layout, sequences=replica / passes)
    token = decode_pass(work, prompt, sequences=replica / streams, context=work.context)
    step = decode_step(model, work, token, layout) if work.decoded else None
    limits = {"queued": queued, "parts_in_flight": parts_in_flight}
    return InferenceCosts(
        prefill=prompts(model, work, prompt, layout, passes=passes, **limits) if work.prefills else None,
        decode=step,
        steps=work.steps,
        memory=footprints(
            model,
            work,
            layout,
            _largest(prompt if work.prefills else token, pass_tokens),
            sequences=replica,
            context=work.longest,
            reserved=reserved,
        ),
        prefill_flops=_flops(model, prompt, work, samples) if work.prefills else 0.0,
        decode_flops=_flops(model, token, work, samples) if work.decoded else 0.0,
        held=0.0 if step is None else streams / layout.pp * total(step, held_bytes),
        samples=samples,
        entered=prompt,
        groups=groups(layout),
        dtype=prompt.dtype,
        core_dtype=prompt.core_dtype,
    )


def parts_of(sequences: Any, stages: Any, length: Any, most: int | None) -> Any:
    """Parts of a batch that are in a pipeline together [-].

    Parameters
    ----------
    sequences : of a replica [-]
    stages : of the pipeline [-]
    length : tokens of each sequence in this pass [-]
    most : tokens of a part, past which it is halved, where the batch is cut by the stages only if they divide it; None
        fills every stage, as far as the sequences go [-]

    References
    ----------
    NVIDIA/FasterTransformer, utils/nccl_utils.cc, getLocalBatchSize

    Examples
    --------
    >>> [parts_of(8.0, 3.0, 128.0, most) for most in (None, 2048, 512)]
    [3.0, 1.0, 2.0]
    """
    if most is None:
        return minimum(stages, maximum(sequences, 1))
    each = sequences / stages
    even = where(greater(each, floor(each)), 1, stages)
    halvings = ceil(log2(maximum(sequences / even * length / most, 1)))
    return where(greater(stages, 1), minimum(even * power(2, halvings), maximum(sequences, 1)), 1)


def _largest(p: Pass, tokens: Any) -> Pass:
    """The part of a pass that is alive at once."""
    if tokens is None:
        return p
    return p._replace(sequences=minimum(tokens / p.queries, p.sequences))


def prefill_pass(model: Model, work: Served, layout: Parallel, *, sequences: Any) -> Pass:
    """Prompts as one device sees them when they enter the model.

    Parameters
    ----------
    model, work, layout : the job
    sequences : that enter together [-]

    Raises
    ------
    InputError
        the model can't read what the workload gives it, or the length of its prompts is missing
    """
    formats, prompt = work.formats, max(sample_length(model, work, "input_length", usual=1024), 1)
    wide = work.kernels == "ggml"
    computed = prompt - work.cached_length
    return entering(
        model,
        work,
        layout,
        sequences=sequences,
        queries=computed,
        keys=prompt if work.cached_length else computed,
        expert_load=work.expert_imbalance,
        element_bytes=4.0 if wide else formats.element_bytes,
        core_bytes=formats.element_bytes if wide else None,
        products=work.products,
        current_scaling=formats.current,
        block_scales=formats.blocks,
        plain_latent=formats.plain_latent,
        forward_only=True,
        last_logits=work.output_length > 0,
        weight_bytes=formats.weight_bytes if formats.weight_bytes != formats.operand_bytes else None,
        expert_bytes=formats.expert_bytes if formats.expert_bytes != formats.weight_bytes else None,
        head_bytes=formats.head_bytes if formats.head_bytes != formats.element_bytes else None,
        kv_bytes=formats.kv_bytes if formats.kv_bytes != formats.element_bytes else None,
        unpack_rows=work.unpack_rows,
        kv_split=layout.kv_split,
        replicated=certain(layout.dp == 1) and certain(layout.cp == 1),
        ungrouped=not work.grouped_cache,
    )


def decode_pass(work: Served, prompt: Pass, *, sequences: Any, context: Any) -> Pass:
    """One token of each sequence against its cache, and those that a draft has guessed.

    Parameters
    ----------
    work : the job
    prompt : the pass that came before
    sequences : that decode together [-]
    context : tokens that each may look at, its own included [-]
    """
    return prompt._replace(
        sequences=sequences,
        queries=1.0 + work.draft_tokens,
        keys=context + work.draft_tokens,
        cp=1,
        sequence_parallel=False,
        decode=True,
        fused_attention=prompt.fused_attention or work.kernels in ("fused", "ggml"),
        source_cached=True,
        last_logits=not work.draft_tokens,
    )


def forward(model: Model, p: Pass, work: Served) -> Serial:
    """One pass through all layers.

    Parameters
    ----------
    model : what is run
    p : the pass as it enters
    work : the job, which may have adapters
    """
    found = parts(model, p)
    blocks = [
        Repeat("layers", block.repeat, beside_adapters(_through("layer", block, p, work), block, p, work))
        for block in found.blocks
    ]
    ends = (_through("entry", found.entry, p, work), _through("exit", found.exit, p, work))
    return Serial("forward", (ends[0], *blocks, ends[1]))


def _through(name: str, part: Part, p: Pass, work: Served) -> Serial:
    casts = cast_weights(part.plain, p) if work.casts_weights else ()
    return Serial(name, (*casts, *part.forward()))


def decode_step(model: Model, work: Served, token: Pass, layout: Parallel) -> Work:
    """One step of decode, after a draft where there is one.

    Parameters
    ----------
    model, work, layout : the job
    token : the pass that checks the draft
    """
    step = through_stages("decode step", model, work, token, layout)
    if not work.draft_tokens:
        return step
    plain = token._replace(queries=1.0, keys=token.keys - work.draft_tokens, last_logits=True)
    drafted = through_stages("drafted token", model, work, plain, layout)
    return Serial("decode step", (Repeat("draft", work.draft_tokens * work.draft_cost, drafted), step))


def prompts(
    model: Model,
    work: Served,
    p: Pass,
    layout: Parallel,
    *,
    passes: Any,
    queued: int | None = None,
    parts_in_flight: int | None = None,
) -> Work:
    """Prompts through the model, after what earlier ones have left of them comes back from where it was put.

    Parameters
    ----------
    model, work, layout : the job
    p : the pass of a part
    passes : parts that begin together [-]
    queued, parts_in_flight : see `EngineRecipe`
    """
    part, chunks = cut(p, work.prompt_chunk)
    whole = through_stages(
        "prefill",
        model,
        work,
        part,
        layout,
        passes=passes * chunks,
        queued=queued,
        parts_in_flight=parts_in_flight,
    )
    if work.cached_in == "device" or not work.cached_length:
        return whole
    layers = [(layer, block.repeat / layout.pp) for block in model.blocks for layer in block.layers]
    size = cache_bytes(layers, p, work.cached_length, reserved=True)
    link = "host_link" if work.cached_in == "host" else "storage"
    return Serial("prefill", (Transfer("cache comes back", passes * p.sequences * size, link), whole))


def cut(p: Pass, chunk: int | None) -> tuple[Pass, Any]:
    """The mean chunk of a prompt, and how many there are.

    Parameters
    ----------
    p : the pass of whole prompts
    chunk : most tokens of one that pass together; None is all of them [-]

    Examples
    --------
    >>> part, chunks = cut(Pass(1, 1024, 1024), 512)
    >>> part.queries, part.keys, chunks
    (512.0, 768.0, 2.0)
    """
    if chunk is None or p.extent:
        return p, 1
    chunks = maximum(ceil(p.queries / chunk), 1)
    each, before = p.queries / chunks, p.keys - p.queries
    return p._replace(queries=each, keys=before + each * (chunks + 1) / 2), chunks


def through_stages(
    name: str,
    model: Model,
    work: Served,
    p: Pass,
    layout: Parallel,
    *,
    passes: Any = None,
    queued: int | None = None,
    parts_in_flight: int | None = None,
) -> Work:
    """A batch through the stages of a pipeline, in parts that follow each other.

    Of so many parts as stages or fewer, each finds every stage free: a step takes as long as one part through all
    stages. Parts that begin together wait for each other: of f in flight at once, as many as stages unless something
    limits them, one leaves after another f-th of that.

    Parameters
    ----------
    name : of the whole
    model, work, layout : the job
    p : the pass of a part
    passes : parts that begin together; None is a stream in which each follows the one before it [-]
    queued, parts_in_flight : see `EngineRecipe`
    """
    whole = p.tokens * model.hidden * p.element_bytes
    hop = (
        Collective("send activations", "send", whole / p.tp, "pp"),
        Collective("gather received", "all_gather", whole, "tp"),
    )
    sends = Repeat("pp sends", layout.pp - 1, Serial("pp send", hop))
    once = forward(model, p, work)
    if passes is None:
        return Serial(name, (Repeat("passes", 1, once), sends))
    f: Any = layout.pp
    if queued is not None:
        f = minimum(f, queued_parts(launches=total(once, _launched), queue=queued, stages=layout.pp))
    if parts_in_flight is not None:
        f = minimum(f, parts_in_flight)
    return Serial(name, (Repeat("passes", (passes + f - 1) / f, once), sends))


def _launched(leaf: Leaf) -> Any:
    """Kernels of a leaf but for messages, of which a pipeline without tensor ranks has none within a stage [-]."""
    return 0 if isinstance(leaf, Collective) else kernels(leaf)


def _flops(model: Model, p: Pass, work: Inference, samples: Any) -> Any:
    """Operations of a pass of all replicas' samples, whatever the split [FLOP]."""
    alone = p._replace(
        tp=1, cp=1, ep=1, expert_tp=1, expert_load=1, sequence_parallel=False, replicated=False
    )
    return total(forward(model, alone._replace(sequences=samples), work), flops)
