"""A job as software's recipes would run it: what the caller left open is set as they set it."""

from __future__ import annotations

from typing import Any, TypeVar

from perfmodel.efficiency import Efficiency, Engine, EngineRecipe, Software
from perfmodel.hardware import Device
from perfmodel.layers import WindowAttention
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.workload import Served, Training, weight_format

__all__ = ["as_run", "as_served", "recipe_of"]

Job = TypeVar("Job", bound=Served)

SIXTEEN = 16
"""Most bits of a weight whose encoders have a kernel for attention [-]."""


def as_run(work: Training, layout: Parallel, software: str) -> tuple[Training, Parallel]:
    """The same job with what a stack's recipes set: formats of gradients and weights, what hides behind compute.

    What was given stays as it is given. `estimate(software=…)` changes constants alone, never the job: this does.

    Parameters
    ----------
    work, layout : the job
    software : the training stack, see `software()`

    Returns
    -------
    workload and layout

    Raises
    ------
    UnknownNameError
        no such software; near names are suggested

    Examples
    --------
    >>> work, layout = as_run(Training(global_batch=512, sequence_length=8192), Parallel(tp=8, pp=4), "nemo")
    >>> work.gradient_dtype, layout.tp_overlap, layout.overlap
    ('bf16', 'userbuffers', ('tp', 'dp', 'pp', 'cp'))
    """
    recipe = Software.known(software).recipe
    of_work: dict[str, Any] = {
        "gradient_dtype": recipe.gradient_dtype,
        "gradient_copy": recipe.gradient_copy.get(work.precision),
        "weight_dtype": recipe.weight_dtype,
        "kernels": recipe.kernels,
        "scaling": recipe.scaling,
    }
    of_layout: dict[str, Any] = {
        "bucket": recipe.bucket,
        "packing": recipe.packing,
        "overlap": recipe.hides,
        "dispatch": recipe.dispatch,
        "tp_overlap": recipe.tp_overlap,
    }
    return (
        work.replace(**{name: value for name, value in of_work.items() if name not in work.model_fields_set}),
        layout.replace(
            **{name: value for name, value in of_layout.items() if name not in layout.model_fields_set}
        ),
    )


def as_served(model: Model, work: Job, device: Device, recipe: EngineRecipe) -> Job:
    """The same batch or load as an engine runs it: its kernels and its passes, where the job leaves them open.

    What was given stays as it is given. Every estimate of inference goes through here.

    Parameters
    ----------
    model, work : the job
    device : that runs it: some kernels are those of its vendor's library, or not made for its architecture
    recipe : of the engine

    Returns
    -------
    the workload
    """
    architecture, vendor = device.architecture.lower(), device.vendor.lower()
    found: dict[str, Any] = {
        "kernels": recipe.kernels,
        "products": "library" if vendor in recipe.library_on else recipe.products,
        "unpack_rows": recipe.unpack_rows,
        "casts_weights": recipe.casts_weights and work.weight_dtype in ("fp16", "bf16"),
        "grouped_cache": architecture not in recipe.ungrouped_on,
        "prompt_chunk": recipe.prefill_tokens if recipe.chunked else None,
        "attention": recipe.attention,
    }
    if model.head is None:
        stored = weight_format(work.weight_dtype)
        if stored.bits <= SIXTEEN and 0 < _attended(model, work) <= recipe.encoder_kernel:
            found["attention"] = "flash"
        found["quantised_throughout"] = recipe.quantised_throughout and stored.computes == "int8"
    open_ = {name: value for name, value in found.items() if name not in work.model_fields_set}
    return work.model_copy(update=open_)


def _attended(model: Model, work: Served) -> int:
    """Positions that an encoder attends to at once: those of its windows, else of its samples [-]."""
    windows = (
        layer.side**2 for layer, _ in model.layers() if isinstance(layer, WindowAttention) and layer.side
    )
    return max(windows, default=work.input_length or model.fixed_length or 0)


def recipe_of(efficiency: Efficiency) -> EngineRecipe:
    """What the engine in force does where a job does not say; the typical one where fits stand alone.

    Parameters
    ----------
    efficiency : the fits in force
    """
    return efficiency.recipe or Engine.load(efficiency.software or "default").recipe
