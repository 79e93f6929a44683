"""`perfmodel search`: every valid layout for some devices, the best first."""

from __future__ import annotations

from typing import Annotated, Any

import typer

import perfmodel as pm
from perfmodel.cli.app import DOES_NOT_FIT, FITS, Json, app, listed, print_json
from perfmodel.cli.jobs import USUAL_LENGTH
from perfmodel.cli.sweeping import MANY, axes_of
from perfmodel.errors import InputError, unknown
from perfmodel.specs import Spec

__all__ = ["search"]

WORKLOADS: dict[str, type[Spec]] = {"training": pm.Training, "inference": pm.Inference, "serving": pm.Serving}


@app.command(context_settings=MANY)
def search(  # noqa: PLR0917  # one parameter an option
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a model, or path of its config.json.")],
    cluster: Annotated[str | None, typer.Option(help="Name of a system, such as dgx-h100.")] = None,
    device: Annotated[str | None, typer.Option(help="Name of a device, instead of a system.")] = None,
    devices: Annotated[
        str, typer.Option(help="How many devices; several with commas, or 8-64 in steps of 8.")
    ] = "8",
    workload: Annotated[str, typer.Option(help="training, inference or serving.")] = "training",
    objective: Annotated[
        str | None,
        typer.Option(help="What is best: step_time, cost, energy, mfu, ttft, output_tokens_per_second, …"),
    ] = None,
    top: Annotated[int, typer.Option(help="Layouts that are printed, best first.")] = 10,
    memory: Annotated[str | None, typer.Option(help='Most memory of a device, such as "70 GiB".')] = None,
    step_time: Annotated[str | None, typer.Option(help='Longest step, such as "10 s".')] = None,
    deadline: Annotated[str | None, typer.Option(help='Longest time to train, such as "30 d".')] = None,
    budget: Annotated[float | None, typer.Option(help="Largest cost [USD].")] = None,
    ttft: Annotated[
        str | None, typer.Option(help='Longest time to the first token, such as "200 ms".')
    ] = None,
    tpot: Annotated[str | None, typer.Option(help="Longest time of a further token.")] = None,
    latency: Annotated[str | None, typer.Option(help="Longest time of an answer.")] = None,
    tokens: Annotated[float | None, typer.Option(help="Tokens of the whole training.")] = None,
    price: Annotated[
        float | None, typer.Option(help="Of an hour of one device [USD]; else as listed.")
    ] = None,
    power: Annotated[
        float | None, typer.Option(help="Of one device [W]; else its thermal design power.")
    ] = None,
    software: Annotated[str | None, typer.Option(help="The training stack or inference engine.")] = None,
    as_json: Json = False,
) -> int:
    """Find the best layouts: all degrees, schedules, sharding and recomputation, unless options say otherwise.

    Further options are fields of workload and layout: one value is fixed (--tp 8), several are gone through
    (--tp 2,4,8); items of one value are joined by + (--overlap dp,dp+tp).
    """
    if workload not in WORKLOADS:
        raise unknown("workload", workload, WORKLOADS)
    kind = WORKLOADS[workload]
    fields: dict[str, Any] = dict(axes_of(context.args, kind))
    counts = _counts(devices)
    chosen = pm.Model.load(model)
    found = pm.search(
        chosen,
        _work(kind, chosen, fields),
        _machine(cluster, device, counts[0]),
        devices=counts,
        objective=objective,
        top=top,
        memory=memory,
        step_time=step_time,
        deadline=deadline,
        budget=budget,
        ttft=ttft,
        tpot=tpot,
        latency=latency,
        tokens=tokens,
        price=price,
        power=power,
        software=software,
        **fields,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        print(found)
    return FITS if len(found) else DOES_NOT_FIT


def _work(kind: Any, model: pm.Model, fields: dict[str, Any]) -> Any:
    """The job with the fields of it that have one value; several are gone through."""
    once = {
        name: fields.pop(name)[0]
        for name in tuple(fields)
        if name in kind.model_fields and len(fields[name]) == 1
    }
    length = "sequence_length" if kind is pm.Training else "input_length"
    if model.input == "tokens" and model.fixed_length is None and length not in fields:
        once.setdefault(length, USUAL_LENGTH)
    if kind is pm.Training:
        once.setdefault("global_batch", 512)
    return kind(**once)


def _counts(text: str) -> list[int]:
    """Numbers of devices: 8 or 8,16 or 8-64, in steps of the first."""
    found: list[int] = []
    try:
        for item in listed(text):
            first, _, last = item.partition("-")
            found += range(int(first), int(last or first) + 1, int(first))
    except ValueError:
        raise InputError(f"devices = {text} is no list of numbers, such as 8,16 or 8-64") from None
    return found


def _machine(cluster: str | None, device: str | None, devices: int) -> pm.Cluster:
    if (cluster is None) == (device is None):
        raise InputError(
            "give either --cluster (such as dgx-h100) or --device (such as nvidia-h100-sxm-80gb)"
        )
    return pm.Cluster.load(cluster, devices=devices) if cluster else pm.Cluster.of(str(device), devices)
