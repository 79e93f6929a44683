"""The same verbs on the command line. Results on stdout, talk on stderr; exit 0 it fits, 1 it does not, 2 bad input."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table

import perfmodel as pm
from perfmodel.calibration import calibrated
from perfmodel.errors import InputError, PerfModelError, unknown
from perfmodel.hardware import links
from perfmodel.report.description import CONTEXT, described, model_table
from perfmodel.schedules import schedules
from perfmodel.specs import Spec, field_docs, schemas, write_schemas
from perfmodel.units import Dimension
from perfmodel.units import show as shown
from perfmodel.validation import Report
from perfmodel.workload import OPTIMIZERS, POLICIES, Offload

__all__ = ["app", "main"]

FITS, DOES_NOT_FIT, BAD_INPUT = 0, 1, 2

USUAL_LENGTH = 4096
"""Tokens of one sequence where neither the command nor the model says [-]."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="How long a step of a large model takes on a machine, what memory it needs, and what limits it.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON: stable keys, SI numbers.")]


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and exit with its code.

    Parameters
    ----------
    arguments : without the program's name; None takes the process's own
    """
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except PerfModelError as error:
        code = _complain(str(error))
    except typer.Abort:
        code = _complain("aborted")
    except BrokenPipeError:
        # the reader has seen enough (| head); the interpreter's own flush at exit must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FITS
    except Exception as error:
        # click's own usage errors know their text; anything else is a bug and keeps its traceback
        if not hasattr(error, "format_message"):
            raise
        code = _complain(error.format_message())
    sys.exit(code if isinstance(code, int) else FITS)


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return BAD_INPUT


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


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
        str, typer.Option(help="Whose kernels keep activations: fused, eager or transformers.")
    ] = "fused",
    offload: Annotated[
        str, typer.Option(help="What lies outside: weights, gradients, optimizer, or activations by name.")
    ] = "",
    offload_to: Annotated[str, typer.Option(help="host or nvme.")] = "host",
    storage: Annotated[
        str | None, typer.Option(help='Storage bandwidth of one device, such as "3 GB/s"; for nvme.')
    ] = None,
    optimizer: Annotated[str, typer.Option(help=", ".join(OPTIMIZERS) + ".")] = "adamw",
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
    efficiency: Annotated[str | None, typer.Option(help="Name or path of an efficiency set.")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add each formula, its inputs, its source.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Predict one training step: its time, memory, utilisation and limiting resource."""
    hidden, chosen_model = tuple(_listed(overlap)), pm.Model.load(model)
    free = chosen_model.input == "tokens" and chosen_model.fixed_length is None
    work = pm.Training(
        global_batch=global_batch,
        sequence_length=USUAL_LENGTH if sequence_length is None and free else sequence_length,
        source_length=source_length,
        image_size=image_size,
        precision=precision,
        recompute=recompute,
        recompute_modules=tuple(_listed(recompute_modules)),
        recompute_policy=recompute_policy,
        recompute_keep=tuple(_listed(recompute_keep)),
        recompute_every=recompute_every,
        kernels=kernels,
        offload=Offload.of(_listed(offload), to=offload_to),
        optimizer=optimizer,
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
        order=tuple(_listed(order)),
        dp=dp,
        micro_batch=micro_batch,
        sharding=sharding,
        shards=shards,
        reshard=reshard,
        sequence_parallel=sequence_parallel,
        overlap=hidden,
    )
    chosen = pm.Efficiency.load(efficiency) if efficiency else None
    machine = _machine(cluster, device, devices)
    if storage is not None:
        machine = machine.replace(storage=storage)
    est = pm.estimate(chosen_model, work, layout, machine, software=software, efficiency=chosen)
    if as_json:
        _print_json(est.to_dict())
    else:
        print(est)
        if explain:
            print("\n" + est.explain())
    return FITS if est.fits else DOES_NOT_FIT


def _machine(cluster: str | None, device: str | None, devices: int) -> pm.Cluster:
    if (cluster is None) == (device is None):
        raise InputError(
            "give either --cluster (such as dgx-h100) or --device (such as nvidia-h100-sxm-80gb)"
        )
    return pm.Cluster.load(cluster, devices=devices) if cluster else pm.Cluster.of(str(device), devices)


LISTS = {
    "model": pm.models,
    "device": pm.devices,
    "system": pm.clusters,
    "efficiency": pm.efficiencies,
    "software": pm.software,
    "link": links,
}
LOADERS: dict[str, Any] = {
    "model": pm.Model.load,
    "device": pm.Device.load,
    "system": pm.Node.load,
    "efficiency": pm.Efficiency.load,
    "software": pm.Software.load,
    "link": pm.Link.load,
}


@app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(help="A model, device, system, link, efficiency or software set.")
    ] = None,
    context: Annotated[
        int, typer.Option(help="Tokens of the sequence whose keys and values are counted (models).")
    ] = CONTEXT,
    as_json: Json = False,
) -> int:
    """Show one specification; without a name, list all of them with their origin."""
    if name is None:
        listed = {kind: names() for kind, names in LISTS.items()}
        if as_json:
            _print_json(listed)
        else:
            for kind, names in listed.items():
                print(f"{kind} ({len(names)})")
                print("\n".join(f"  {one:<40}{origin}" for one, origin in names.items()))
        return FITS
    found = _find(name)
    if isinstance(found, pm.Model):
        if as_json:
            _print_json(described(found, context=context))
        else:
            print(model_table(found, context=context))
    elif as_json:
        _print_json(found.model_dump(mode="json"))
    elif isinstance(found, pm.Device):
        print(found)
    else:
        print(_lines(f"{found.name} ({found.id})", _printed(found)))
    return FITS


def _find(name: str) -> Any:
    faults: list[Exception] = []
    for load in LOADERS.values():
        try:
            return load(name)
        except LookupError as error:  # not of this kind; other faults of a file that was found are told
            faults.append(error)
    every = [one for names in LISTS.values() for one in names()]
    raise unknown("specification", name, every, "perfmodel show lists all")


def _lines(title: str, described: dict[str, Any]) -> str:
    """Fields one a line, nested ones indented; what is unknown or empty is left out."""
    return "\n".join([title, *_indented(described, "  ")])


def _printed(spec: Spec) -> dict[str, Any]:
    """Fields of a specification, quantities with the unit that their description names."""
    found: dict[str, Any] = {}
    docs = field_docs(type(spec))
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        unit = re.search(r"\[(B|B/s|FLOP/s|s|Hz|W)\]", docs.get(name, ""))
        if isinstance(value, Spec):
            value = _printed(value)
        elif isinstance(value, dict):
            value = {key: _printed(one) if isinstance(one, Spec) else one for key, one in value.items()}
        elif unit and value is not None:
            value = shown(value, cast("Dimension", unit[1]))
        found[name] = list(value) if isinstance(value, tuple) else value
    return {name: value for name, value in found.items() if name not in ("id", "name")}


def _indented(described: dict[str, Any], indent: str) -> Iterator[str]:
    for key, value in described.items():
        if value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            yield f"{indent}{key}"
            yield from _indented(value, indent + "  ")
        elif isinstance(value, list):
            yield from (f"{indent}{key}: {one}" for one in value)
        else:
            printed = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
            yield f"{indent}{key:<{24 - len(indent)}} {printed}"


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(help="Measured runs (.jsonl) and operators (.csv).")],
    out: Annotated[
        Path | None, typer.Option("--json", help="Write rows, skipped rows and summary here.")
    ] = None,
    efficiency: Annotated[str | None, typer.Option(help="One efficiency set for all rows.")] = None,
) -> int:
    """Score predictions against measured runs and operators: by source, hardware, software and kind of work."""
    report = pm.validate(files, efficiency=pm.Efficiency.load(efficiency) if efficiency else None)
    if out is not None:
        try:
            out.write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"can't write {out}: {error.strerror}") from None
    _print_report(report)
    return FITS


def _print_report(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    for metric in report.metrics:
        for group, names in report.summary(metric).items():
            rows = {"all rows": names} if group == "all" else names
            title = f"{metric}: |error| {'over all rows' if group == 'all' else group.replace('_', ' ')}"
            console.print(_error_table(title, rows))
    if report.skipped:
        console.print(f"{len(report.skipped)} rows skipped:")
        for reason, count in report.reasons().items():
            console.print(f"  {count:>4}  {reason}", markup=False, highlight=False)


def _error_table(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", overflow="fold", max_width=58)
    for name in ("rows", "skipped", "median", "p90", "mean", "bias"):
        table.add_column(name, justify="right")
    for name, row in rows.items():
        errors = [row[key] for key in ("median_error", "p90_error", "mean_error")]
        bias = "" if row["bias"] is None else f"{row['bias']:+.1%}"
        cells = ["" if error is None else f"{error:.1%}" for error in errors]
        table.add_row(name, str(row["rows"]), str(row["skipped"]), *cells, bias)
    return table


@app.command()
def calibrate(
    files: Annotated[
        list[Path], typer.Argument(help="Measured operators (.csv), or training runs (.jsonl).")
    ],
    device: Annotated[
        str | None, typer.Option(help="Whose rows are fitted, and the device of rows that name none.")
    ] = None,
    efficiency: Annotated[
        str | None, typer.Option(help="The set to begin with; by default the device's own.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the new set here, as .yaml.")] = None,
    as_json: Json = False,
) -> int:
    """Fit an efficiency set to measured operators, or a software set to measured training runs."""
    start = pm.Efficiency.load(efficiency) if efficiency else None
    found = calibrated(files, device=device, start=start)
    if as_json:
        _print_json(found.to_dict())
    else:
        print(found)
    if out is not None:
        saved = found.save(out)
        print(f"wrote {out}: pm.{type(saved).__name__}.load({str(out)!r}) is {saved.id}", file=sys.stderr)
    return FITS


@app.command()
def schema(
    folder: Annotated[
        Path | None, typer.Argument(help="Write one file a kind here; without it, print all.")
    ] = None,
) -> int:
    """Write the JSON schemas of all specification files."""
    if folder is None:
        _print_json(schemas())
    else:
        for path in write_schemas(folder):
            print(path)
    return FITS


if __name__ == "__main__":
    main()
