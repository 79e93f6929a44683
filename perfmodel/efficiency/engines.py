"""What an inference engine makes of the machine: constants of its own beside those of any software."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from perfmodel.efficiency.software import Recipe, Software, SoftwareFit
from perfmodel.layers.kept import Products
from perfmodel.specs import Catalogue
from perfmodel.units import Bytes, Seconds

__all__ = ["Engine", "EngineFit", "EngineRecipe", "engines"]


class EngineFit(SoftwareFit):
    """Constants of an inference engine; `step` is the host's time of one pass that nothing hides."""

    bandwidth: float = Field(default=1.0, gt=0, le=2)
    """Rate at which products of few tokens stream weights, over that of the operator fit [-]."""
    decode: float = Field(default=1.0, gt=0, le=2)
    """Rate at which decode attention streams the cache, over that of the operator fit [-]."""
    packed: float = Field(default=1.0, gt=0, le=4)
    """Rate of products that unpack their weights on the way, over that of the operator fit [-]."""
    core: float = Field(default=64.0, gt=0, le=64)
    """Bytes of a matrix that one core takes in a cycle in a kernel for few rows; 64 is no limit of the kernel's [B]."""
    sequence: Seconds = Field(default=0.0, ge=0)
    """Time of the host for each sequence of a pass: scheduling, sampling, text of the new token [s]."""
    request: Seconds = Field(default=0.0, ge=0)
    """Time of the host for each request: text to tokens and back, and its way through the server [s]."""


class EngineRecipe(Recipe):
    """What an engine does where a job does not say."""

    runtime: Literal["overlapped", "python", "native", "compiled"] = "python"
    """What drives the device: a loop that prepares the next step while this one runs, a plain loop in Python, native
    code, or a program compiled ahead. Engines of one kind are kin: where one was not measured, it is as the others."""
    graphs: bool = False
    """Steps of decode are captured once and launched as a whole."""
    attention: Literal["flash", "unfused"] = "flash"
    """Fused attention kernels, or products and softmax one by one with stored scores."""
    quantised_cache: bool = False
    """Models in 8 and 4 bits come with a cache in 8 bits, where nothing else is said."""
    direct: bool = False
    """All-reduces within a node may be kernels of its own that read their peers' memory."""
    fused_reduction: bool = False
    """These kernels also add the residual and normalise the sum."""
    fused_quantise: bool = False
    """Norms, activations and attention write what follows in the products' format: no kernel of its own quantises."""
    libraries: dict[str, str] = Field(default_factory=dict)
    """By number format, the library whose products it calls: an entry of `Efficiency.matmul`, where there is one."""
    narrow_streams: bool = False
    """Decode streams a cache of 8 bits as fast as one of 16, byte for byte, whatever the measured kernels do."""
    half_sums: bool = False
    """Products of fp16 are summed in fp16, at the higher rate that some devices have for it."""
    products: Products = "own"
    """Whose products of linear layers run; see `Inference`."""
    library_on: tuple[str, ...] = ()
    """Vendors, in lower case, on whose devices products of prompts are those of the vendor's library instead."""
    ungrouped_on: tuple[str, ...] = ()
    """Architectures on which decode reads a cached key once for each query head, not once for those that share it."""
    encoder_kernel: int = Field(default=0, ge=0)
    """Positions up to which encoders in 16 or 8 bits attend in one kernel, whatever `attention` says [-]."""
    quantised_throughout: bool = False
    """Encoders and networks of convolutions in 8 bits stay in 8 bits between their products; see `Inference`."""
    casts_weights: bool = False
    """16 bits are automatic mixed precision: weights are kept in 32, and cast in each pass."""
    unpack_rows: int | None = Field(default=None, ge=0)
    """Tokens of a pass from which packed weights are first written out in 16 bits; null unpacks them on the way [-]."""
    pipelined: bool = True
    """A pipeline has a part of the batch in every stage; else one at a time."""
    queued: int | None = Field(default=None, ge=1)
    """Launches that wait for one device at most, where one host thread launches for all stages of a pipeline: it is
    held up by the stage whose queue is full; None is a host for each stage [-]."""
    parts_in_flight: int | None = Field(default=None, ge=1)
    """Most parts of a batch in a pipeline at once; None is as many as stages [-]."""
    part_tokens: int | None = Field(default=None, ge=1)
    """A pipeline's parts are as many as its stages only where these divide the batch, else one; each is halved until
    its prompts have no more tokens than this. Null: as many as stages [-]."""
    memory_share: float = Field(default=0.9, gt=0, le=1)
    """Of the device's memory, what the engine takes (vLLM's gpu_memory_utilization) [-]."""
    cache_share: float = Field(default=1.0, gt=0, le=1)
    """Of what is left of that beside the model, what the cache takes (TensorRT-LLM's free_gpu_memory_fraction) [-]."""
    workspace: Bytes = Field(default=0.0, ge=0)
    """What the engine keeps beside driver and libraries: captured graphs, buffers of sampling and kernels [B]."""
    keeps_all: bool = True
    """The cache keeps every position, also those that a window has passed."""
    prefill_tokens: int = Field(default=8192, ge=1)
    """Most tokens of one pass, prompts and decode together (vLLM's max_num_batched_tokens) [-]."""
    most_sequences: int = Field(default=256, ge=1)
    """Most sequences that decode together (vLLM's max_num_seqs) [-]."""
    continuous: bool = False
    """Sequences join the running batch as others leave it, so that a batch larger than the cache is run all the same;
    else it runs out of memory."""
    reserves_output: bool = False
    """A request is let in only where there is room for its last token, so that none is ever thrown out."""
    chunked: bool = True
    """Prompts are cut to what a pass has room for, and share it with decode; else a pass is for prompts alone."""

    @property
    def launched_messages(self) -> bool:
        """Outside captured graphs, messages are the library's, and hosts launch each of them."""
        return not (self.graphs or self.direct)

    @property
    def in_force(self) -> dict[str, Any]:
        """Fields of `Efficiency` where this recipe is in force: itself, and what times of operators depend on."""
        return {"recipe": self, **{name: getattr(self, name) for name in KERNELS}}


KERNELS = (
    "half_sums",
    "direct",
    "narrow_streams",
    "launched_messages",
    "fused_reduction",
    "fused_quantise",
    "libraries",
)
"""What a recipe says that `Efficiency` has a field of, too."""


class Engine(Software):
    """An inference engine, or a family of its releases.

    Examples
    --------
    >>> [Engine.of(name).id for name in ("vLLM 0.12", "TensorRT-LLM 1.0", "never heard of")]
    ['vllm', 'tensorrt-llm', 'default']
    """

    one_is_called: ClassVar[str] = "engine"
    constants: EngineFit
    """On any architecture."""
    on: dict[str, EngineFit] = Field(default_factory=dict)  # type: ignore[assignment]
    """On architectures with measured runs of their own, by the architecture's name in lower case."""
    recipe: EngineRecipe = EngineRecipe()
    """What it does where a job does not say."""

    @classmethod
    def catalogue(cls) -> Catalogue[Any]:
        """Where engines are found by name."""
        return CATALOGUE


CATALOGUE = Catalogue("engine", Engine, "engines")


def engines() -> dict[str, str]:
    """Names of all inference engines, with where each comes from."""
    return CATALOGUE.names()
