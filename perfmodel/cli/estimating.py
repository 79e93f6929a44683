"""`perfmodel estimate`: one training step."""

from __future__ import annotations

from typing import Annotated, TypeVar

import typer

import perfmodel as pm
from perfmodel.cli.app import DOES_NOT_FIT, FITS, Json, app, listed, print_json
from perfmodel.errors import InputError
from perfmodel.schedules import schedules
from perfmodel.specs import Spec
from perfmodel.workload import OPTIMIZERS, POLICIES, Offload

__all__ = ["estimate"]

S = TypeVar("S", bound=Spec)

USUAL_LENGTH = 4096
"""Tokens of one sequence where neither the command nor the model says [-]."""


@app.command()
def estimate(  # noqa: PLR0917  # one parameter an option
    model: Annotated[str, typer.Argument(help="Name of a model, or path of its config.json.")],
    cluster: Annotated[str | None, typer.Option(help="Name of a system, such as dgx-h100.")] = None,
    device: Annotated[str | None, typer.Option(help="Name of a device, instead of a system.")] = None,
    devices: Annotated[int, typer.Option(help="How many devices.")] = 8,
    global_batch: Annotated[int, typer.Option(help="Sequences, or images, in one optimizer step.")] = 512,
    sequence_length: Annotated[
        int | None, typer.Option(help="Tokens of one sequence; 4096 where the model fixes no length.")
    ] = None,
    source_length: Annotated[int | None, typer.Option(help="Tokens that an encoder reads.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of an image; the model's own if left out.")
    ] = None,
    precision: Annotated[str, typer.Option(help="bf16, fp16, tf32, fp32, fp8, mxfp8 or nvfp4.")] = "bf16",
    recompute: Annotated[str, typer.Option(help="none, selective or full.")] = "none",
    recompute_modules: Annotated[
        str, typer.Option(help="Modules that selective repeats: attention core, attention, mlp, norm, …")
    ] = "attention core",
    recompute_policy: Annotated[
        str | None, typer.Option(help="A framework's policy: " + ", ".join(POLICIES) + ".")
    ] = None,
    recompute_keep: Annotated[
        str, typer.Option(help="Results kept besides: query, key, value, output, gate, up, attention core.")
    ] = "",
    recompute_every: Annotated[int, typer.Option(help="Recompute one layer of so many.")] = 1,
    kernels: Annotated[
        str,
        typer.Option(help="Whose kernels do pointwise work: fused, inductor, xla, eager or transformers."),
    ] = "fused",
    offload: Annotated[
        str, typer.Option(help="What lies outside: weights, gradients, optimizer, or activations by name.")
    ] = "",
    offload_to: Annotated[str, typer.Option(help="host or nvme.")] = "host",
    storage: Annotated[
        str | None, typer.Option(help='Storage bandwidth of one device, such as "3 GB/s"; for nvme.')
    ] = None,
    data_rate: Annotated[
        float | None, typer.Option(help="Samples that the input pipeline makes ready each second.")
    ] = None,
    sample_bytes: Annotated[
        str | None, typer.Option(help='Of a sample as it is read from storage, such as "110 kB".')
    ] = None,
    optimizer: Annotated[str, typer.Option(help=", ".join(OPTIMIZERS) + ".")] = "adamw",
    fused_optimizer: Annotated[
        bool, typer.Option(help="A few kernels update all tensors; else each has its own.")
    ] = True,
    attention: Annotated[str, typer.Option(help="flash or unfused.")] = "flash",
    tp: Annotated[int, typer.Option(help="Tensor-parallel degree.")] = 1,
    pp: Annotated[int, typer.Option(help="Pipeline-parallel degree.")] = 1,
    vpp: Annotated[int, typer.Option(help="Model chunks a stage holds.")] = 1,
    schedule: Annotated[str, typer.Option(help="auto, " + ", ".join(schedules()) + ".")] = "auto",
    cp: Annotated[int, typer.Option(help="Context-parallel degree.")] = 1,
    ep: Annotated[int, typer.Option(help="Expert-parallel degree, out of tp · cp · dp.")] = 1,
    expert_tp: Annotated[
        int | None, typer.Option(help="Tensor-parallel degree inside an expert; tp where ep = 1, else 1.")
    ] = None,
    dispatch: Annotated[
        str, typer.Option(help="How tokens reach experts: all_to_all or deduplicated.")
    ] = "all_to_all",
    context: Annotated[str, typer.Option(help="ring, all_gather or ulysses.")] = "ring",
    dp: Annotated[int | None, typer.Option(help="Data-parallel degree; follows from the devices.")] = None,
    micro_batch: Annotated[int, typer.Option(help="Sequences of one pass on one device.")] = 1,
    sharding: Annotated[str, typer.Option(help="none, zero1, zero2, zero3 or hsdp.")] = "zero1",
    shards: Annotated[
        int | None, typer.Option(help="Ranks that split one copy of the states (hsdp).")
    ] = None,
    reshard: Annotated[bool, typer.Option(help="Drop gathered weights after forward (zero3, hsdp).")] = True,
    sequence_parallel: Annotated[bool, typer.Option(help="Split norms over the tensor ranks.")] = False,
    tp_overlap: Annotated[str | None, typer.Option(help="none, ring, pipelined or userbuffers.")] = None,
    order: Annotated[str, typer.Option(help="Placement of the axes, innermost first.")] = "tp,cp,dp,pp",
    overlap: Annotated[str, typer.Option(help="Axes whose messages run beside compute.")] = "dp,pp,cp",
    software: Annotated[
        str | None, typer.Option(help="The training stack, such as nemo or torchtitan; else what is typical.")
    ] = None,
    as_run: Annotated[
        bool, typer.Option("--as-run", help="Set what the software's recipes set, where no option differs.")
    ] = False,
    efficiency: Annotated[str | None, typer.Option(help="Name or path of an efficiency set.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add each formula, its inputs, its source.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Predict one training step: its time, memory, utilisation and limiting resource."""
    hidden, chosen_model = tuple(listed(overlap)), pm.Model.load(model)
    free = chosen_model.input == "tokens" and chosen_model.fixed_length is None
    work = pm.Training(
        global_batch=global_batch,
        sequence_length=USUAL_LENGTH if sequence_length is None and free else sequence_length,
        source_length=source_length,
        image_size=image_size,
        precision=precision,
        recompute=recompute,
        recompute_modules=tuple(listed(recompute_modules)),
        recompute_policy=recompute_policy,
        recompute_keep=tuple(listed(recompute_keep)),
        recompute_every=recompute_every,
        kernels=kernels,
        offload=Offload.of(listed(offload), to=offload_to),
        data_rate=data_rate,
        sample_bytes=sample_bytes,
        optimizer=optimizer,
        fused_optimizer=fused_optimizer,
        attention=attention,
    )
    layout = pm.Parallel(
        tp=tp,
        pp=pp,
        vpp=vpp,
        schedule=schedule,
        cp=cp,
        ep=ep,
        expert_tp=expert_tp,
        dispatch=dispatch,
        context=context,
        tp_overlap=tp_overlap,
        order=tuple(listed(order)),
        dp=dp,
        micro_batch=micro_batch,
        sharding=sharding,
        shards=shards,
        reshard=reshard,
        sequence_parallel=sequence_parallel,
        overlap=hidden,
    )
    if as_run:
        if software is None:
            raise InputError("--as-run follows the recipes of a stack; name it: --software nemo")
        work, layout = pm.as_run(_stated(work), _stated(layout), software)
    chosen = pm.Efficiency.load(efficiency) if efficiency else None
    machine = _machine(cluster, device, devices)
    if storage is not None:
        machine = machine.replace(storage=storage)
    est = pm.estimate(chosen_model, work, layout, machine, software=software, efficiency=chosen)
    if as_json:
        print_json(est.to_dict())
    else:
        print(est)
        if explain:
            print("\n" + est.explain())
    return FITS if est.fits else DOES_NOT_FIT


def _stated(spec: S) -> S:
    """The same with only those fields set that differ from their defaults."""
    fields = type(spec).model_fields
    return type(spec)(**{name: value for name, value in spec if value != fields[name].default})


def _machine(cluster: str | None, device: str | None, devices: int) -> pm.Cluster:
    if (cluster is None) == (device is None):
        raise InputError(
            "give either --cluster (such as dgx-h100) or --device (such as nvidia-h100-sxm-80gb)"
        )
    return pm.Cluster.load(cluster, devices=devices) if cluster else pm.Cluster.of(str(device), devices)
