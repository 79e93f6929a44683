"""A job as a training stack's recipes would run it: what the caller left open is set as they set it."""

from __future__ import annotations

from typing import Any

from perfmodel.efficiency import Software
from perfmodel.parallel import Parallel
from perfmodel.workload import Training

__all__ = ["as_run"]


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
