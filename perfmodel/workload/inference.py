"""One batch through a model: prefill, then one token a sequence at a time; or one pass of an encoder."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from perfmodel.errors import Faults
from perfmodel.formulas.queueing import speculated_tokens
from perfmodel.layers.kept import Kernels, Products
from perfmodel.specs import Spec
from perfmodel.workload.quantisation import Formats, format_faults

__all__ = ["Inference", "Served"]


class Served(Spec):
    """What inference of a batch and serving of requests have in common: lengths, formats and kernels."""

    input_length: int | None = Field(default=None, ge=0, le=10**9)
    """Tokens of a prompt; 0 decodes from an empty context; None where the model fixes it, or sees images or
    signals [-]."""
    output_length: int = Field(default=1, ge=0, le=10**9)
    """Tokens that are generated for each sequence, the first of them by prefill; 0 is a forward pass alone [-]."""
    cached_length: int = Field(default=0, ge=0, le=10**9)
    """Tokens of each prompt whose keys and values are cached already, of those in `input_length` (prefix cache) [-]."""
    cached_in: Literal["device", "host", "storage"] = "device"
    """Where these lie: on the device, or where they come back from over the link to the host, or from storage."""
    adapters: int = Field(default=0, ge=0, le=10**6)
    """Low-rank adapters that are served beside the model, each on all dense matrices [-]."""
    adapter_rank: int = Field(default=16, ge=1, le=10**5)
    """Rank of each [-]."""
    weight_dtype: str = "bf16"
    """How weights are stored: fp32, bf16, fp16, fp8, fp8_block, int8, nvfp4, mxfp4 (activations of the products are
    quantised, too), int8_wo, int4_wo, int4_g128, gguf_q4_k_m, exl2_4bpw (weights alone), mxfp4_moe (experts alone)."""
    activation_dtype: str | None = None
    """Format of what is not quantised; None follows from the weights, else bf16."""
    kv_dtype: str | None = None
    """Format of cached keys and values; None is that of the activations."""
    attention: Literal["flash", "unfused"] = "flash"
    """Fused attention kernels, or products and softmax one by one with stored scores."""
    kernels: Kernels = "fused"
    """Whose kernels do pointwise work; see `Training`. Fused ones, and ggml's, attend from a cache without storing
    scores; ggml's hand each other activations in 32 bits."""
    products: Products = "own"
    """Whose products of linear layers run: own kernels, which unpack weights of few bits on the way; in prompts the
    vendor's library, before which kernels of their own unpack and cast; or kernels for one row, run over all rows."""
    grouped_cache: bool = True
    """Decode reads a cached key once for all query heads that share it; else once for each."""
    casts_weights: bool = False
    """Weights of products are kept in 32 bits and cast in each pass (automatic mixed precision)."""
    unpack_rows: int | None = Field(default=None, ge=0, le=10**9)
    """Tokens of a pass from which packed weights are first written out in 16 bits, and read back by a plain product;
    None unpacks them on the way [-]."""
    quantised_throughout: bool = False
    """Products in fewer bits hand their results on in these bits, attention and pointwise work in between included;
    else a kernel before each product quantises what comes in 16 bits."""
    prompt_chunk: int | None = Field(default=None, ge=1, le=10**9)
    """Most tokens of one prompt that pass together; None is all of them [-]."""
    expert_imbalance: float = Field(default=1, ge=1, le=10**4)
    """Routed tokens of the busiest expert-parallel rank over their mean [-]."""
    draft_tokens: int = Field(default=0, ge=0, le=10**4)
    """Tokens that a draft guesses ahead, all checked in one step (speculative decoding, multi-token prediction) [-]."""
    acceptance: float = Field(default=0.7, ge=0, le=1)
    """Share of drafted tokens that stand, each as likely as the others [-]."""
    draft_cost: float = Field(default=0.05, ge=0, le=1)
    """Time of one drafted token over that of a step without drafts: about the draft's share of the parameters [-]."""
    graphs: bool | None = None
    """Steps of decode are captured once and launched as a whole (CUDA graphs); None is what the engine does."""

    @property
    def tokens_per_step(self) -> Any:
        """Tokens that one step of decode brings to a sequence, on average [-].

        Examples
        --------
        >>> Inference(input_length=8, draft_tokens=3, acceptance=1.0).tokens_per_step
        4.0
        """
        if not self.draft_tokens:
            return 1.0
        return speculated_tokens(drafted=self.draft_tokens, acceptance=self.acceptance)

    @property
    def formats(self) -> Formats:
        """The number formats in force."""
        formats = Formats.of(self.weight_dtype, self.activation_dtype, self.kv_dtype)
        return formats.throughout if self.quantised_throughout else formats

    def _told(self, faults: Faults) -> None:
        """Refuse names of formats and lengths that contradict each other."""
        for fault in format_faults(self.weight_dtype, self.activation_dtype, self.kv_dtype):
            faults.add(str(fault))
        prompt = self.input_length
        if prompt is not None and self.cached_length and self.cached_length >= prompt:
            faults.add(
                f"cached_length = {self.cached_length} must leave a token of input_length = {prompt} to compute; "
                f"nearest: cached_length = {max(prompt - 1, 0)}"
            )
        if prompt == 0 and self.output_length == 0:
            faults.add(
                "input_length = 0 and output_length = 0 leave nothing to do; nearest: output_length = 1"
            )


class Inference(Served):
    """A fixed batch, from its prompt to its last token.

    Examples
    --------
    >>> work = Inference(batch=32, input_length=1024, output_length=256, weight_dtype="fp8")
    >>> work.steps, work.context
    (255, 1152.0)
    >>> work.formats.dtype, work.formats.weight_bytes, work.formats.kv_bytes
    ('fp8', 1.0, 2.0)
    """

    batch: int = Field(default=1, ge=1, le=10**9)
    """Sequences, images or rows of a table together, on all devices [-]."""
    source_length: int | None = Field(default=None, gt=0, le=10**9)
    """Tokens, or frames of a signal, that an encoder reads for a decoder; None is as many as the prompt's, or what the
    encoder was made for [-]."""
    image_size: int | tuple[int, int] | None = None
    """Side of a square image, or its height and width; None is what the model was made for [-]."""
    samples: int | None = Field(default=None, gt=0, le=10**9)
    """Length of a signal [-]."""
    continuous: bool | None = None
    """A batch that is larger than the cache has room for is run in waves, sequences joining as others end (continuous
    batching); else all of it runs together or not at all; None is what the engine does."""
    passes: int | None = Field(default=None, ge=1, le=10**9)
    """Parts of a replica's batch that are in a pipeline together; None is as many as stages, as far as the batch
    goes [-]."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        faults = Faults("Inference")
        self._told(faults)
        faults.raise_if_any()
        return self

    @property
    def prefills(self) -> bool:
        """There is a prompt, an image or a signal to read first."""
        return self.input_length != 0

    @property
    def steps(self) -> Any:
        """Steps of decode: one a token, but for the first, which prefill gives; fewer where drafts stand [-]."""
        return self.decoded / self.tokens_per_step if self.draft_tokens else self.decoded

    @property
    def decoded(self) -> int:
        """Tokens of a sequence that decode brings [-]."""
        return max(self.output_length - (1 if self.prefills else 0), 0)

    @property
    def context(self) -> Any:
        """Mean context of these steps, the token of the step included [-]."""
        return (self.input_length or 0) + (self.decoded + 1) / 2

    @property
    def longest(self) -> Any:
        """Context of the last step: what the cache must hold [-]."""
        return (self.input_length or 0) + self.decoded
