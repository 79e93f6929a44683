"""Options that say what is run: a training step, a batch of inference, or a load of requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

import perfmodel as pm
from perfmodel.cli.app import listed
from perfmodel.cli.options import Options
from perfmodel.workload import OPTIMIZERS, POLICIES, Offload

__all__ = ["USUAL_LENGTH", "BatchJob", "LoadJob", "Samples", "ServedJob", "TrainingJob"]

USUAL_LENGTH = 4096
"""Tokens of one training sequence where neither the command nor the model says [-]."""


@dataclass(frozen=True, kw_only=True)
class Samples(Options):
    """What enters the model beside tokens, and whose kernels see it."""

    source_length: Annotated[int | None, typer.Option(help="Tokens that an encoder reads.")] = None
    image_size: Annotated[int | None, typer.Option(help="Side of an image; the model's own if left out.")] = (
        None
    )
    kernels: Annotated[
        str,
        typer.Option(
            help="Whose kernels do pointwise work: fused, inductor, xla, ggml, eager or transformers."
        ),
    ] = "fused"
    attention: Annotated[str, typer.Option(help="flash or unfused.")] = "flash"


@dataclass(frozen=True, kw_only=True)
class TrainingJob(Options):
    """One optimizer step."""

    global_batch: Annotated[int, typer.Option(help="Sequences, or images, in one optimizer step.")] = 512
    sequence_length: Annotated[
        int | None, typer.Option(help="Tokens of one sequence; 4096 where the model fixes no length.")
    ] = None
    precision: Annotated[str, typer.Option(help="bf16, fp16, tf32, fp32, fp8, mxfp8 or nvfp4.")] = "bf16"
    recompute: Annotated[str, typer.Option(help="none, selective or full.")] = "none"
    recompute_modules: Annotated[
        str, typer.Option(help="Modules that selective repeats: attention core, attention, mlp, norm, …")
    ] = "attention core"
    recompute_policy: Annotated[
        str | None, typer.Option(help="A framework's policy: " + ", ".join(POLICIES) + ".")
    ] = None
    recompute_keep: Annotated[
        str, typer.Option(help="Results kept besides: query, key, value, output, gate, up, attention core.")
    ] = ""
    recompute_every: Annotated[int, typer.Option(help="Recompute one layer of so many.")] = 1
    offload: Annotated[
        str, typer.Option(help="What lies outside: weights, gradients, optimizer, or activations by name.")
    ] = ""
    offload_to: Annotated[str, typer.Option(help="host or nvme.")] = "host"
    data_rate: Annotated[
        float | None, typer.Option(help="Samples that the input pipeline makes ready each second.")
    ] = None
    sample_bytes: Annotated[
        str | None, typer.Option(help='Of a sample as it is read from storage, such as "110 kB".')
    ] = None
    optimizer: Annotated[str, typer.Option(help=", ".join(OPTIMIZERS) + ".")] = "adamw"
    fused_optimizer: Annotated[
        bool, typer.Option(help="A few kernels update all tensors; else each has its own.")
    ] = True

    def work(self, model: pm.Model, samples: Samples) -> pm.Training:
        """The step.

        Parameters
        ----------
        model : what is trained
        samples : what enters it
        """
        values = self.values()
        free = model.input == "tokens" and model.fixed_length is None
        if self.sequence_length is None and free:
            values["sequence_length"] = USUAL_LENGTH
        for name in ("recompute_modules", "recompute_keep"):
            values[name] = tuple(listed(values[name]))
        values["offload"] = Offload.of(listed(self.offload), to=values.pop("offload_to"))
        return pm.Training(**values, **samples.values())


@dataclass(frozen=True, kw_only=True)
class ServedJob(Options):
    """What inference and serving have in common: lengths and formats."""

    input_length: Annotated[
        int | None, typer.Option("--input", help="Tokens of a prompt; of a model of images, none.")
    ] = None
    output_length: Annotated[
        int, typer.Option("--output", help="Tokens that are generated, the first of them by prefill.")
    ] = 1
    cached_length: Annotated[
        int, typer.Option("--cached", help="Tokens of a prompt that the cache holds already.")
    ] = 0
    cached_in: Annotated[str, typer.Option(help="Where these lie: device, host or storage.")] = "device"
    weight_dtype: Annotated[
        str, typer.Option("--weights", help="bf16, fp8, fp8_block, nvfp4, int8_wo, int4_g128, gguf_q4_k_m, …")
    ] = "bf16"
    activation_dtype: Annotated[
        str | None, typer.Option("--activations", help="bf16, fp16, tf32 or fp32: what is not quantised.")
    ] = None
    kv_dtype: Annotated[
        str | None, typer.Option("--kv", help="Cached keys and values: bf16, fp8, int8, int4, …")
    ] = None
    draft_tokens: Annotated[int, typer.Option(help="Tokens that a draft guesses ahead of each step.")] = 0
    acceptance: Annotated[float, typer.Option(help="Share of drafted tokens that stand.")] = 0.7
    adapters: Annotated[int, typer.Option(help="Low-rank adapters served beside the model.")] = 0
    adapter_rank: Annotated[int, typer.Option(help="Rank of each.")] = 16
    graphs: Annotated[
        bool | None, typer.Option(help="Decode is launched as a captured graph; else what the engine does.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class BatchJob(Options):
    """A fixed batch of inference."""

    inference: Annotated[
        bool, typer.Option("--inference", help="A batch from its prompts to its last tokens.")
    ] = False
    batch: Annotated[int, typer.Option(help="Sequences, images or rows together, on all devices.")] = 1
    continuous: Annotated[
        bool | None,
        typer.Option(help="What the cache lacks room for waits its turn; else what the engine does."),
    ] = None

    def work(self, served: ServedJob, samples: Samples) -> pm.Inference:
        """The batch.

        Parameters
        ----------
        served : lengths and formats
        samples : what enters the model
        """
        return pm.Inference(
            batch=self.batch, continuous=self.continuous, **served.values(), **samples.values()
        )


@dataclass(frozen=True, kw_only=True)
class LoadJob(Options):
    """A load of requests."""

    serving: Annotated[
        bool, typer.Option("--serving", help="Requests that come and go; as many as fit if nothing is said.")
    ] = False
    concurrency: Annotated[
        int | None, typer.Option(help="Users, each of whom waits for an answer before asking again.")
    ] = None
    request_rate: Annotated[float | None, typer.Option(help="Requests that arrive each second.")] = None
    requests_per_user: Annotated[
        float | None, typer.Option(help="Of a concurrency whose users all begin at once, as in benchmarks.")
    ] = None
    prefill_tokens: Annotated[int | None, typer.Option(help="Most tokens of one pass.")] = None
    most_sequences: Annotated[int | None, typer.Option(help="Most sequences decoded together.")] = None
    chunked: Annotated[bool | None, typer.Option(help="Prompts share passes with decode.")] = None
    prefill_replicas: Annotated[int, typer.Option(help="Replicas for prompts alone, of all.")] = 0

    def work(self, served: ServedJob, samples: Samples) -> pm.Serving:
        """The load.

        Parameters
        ----------
        served : lengths and formats
        samples : whose kernels
        """
        values = self.values()
        del values["serving"]
        return pm.Serving(**values, **served.values(), **samples.values("kernels", "attention"))
