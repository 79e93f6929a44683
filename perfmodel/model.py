"""A model as blocks of layers, times a repeat; its parameters and FLOPs exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

from pydantic import Field, SerializeAsAny

from perfmodel.counting import AttentionCount, Counting, Logits, Mode, Per, masked
from perfmodel.errors import Faults, UnsupportedError
from perfmodel.layers import Layer, Pass, Weight
from perfmodel.layers.embedding import Embedding, Head, PositionTable
from perfmodel.specs import Catalogue, SourcedSpec, Spec
from perfmodel.walk import Entrance, walk
from perfmodel.work import Repeat, Serial, Work

__all__ = ["Block", "Model", "ModelSpec", "models", "register_format"]


class Block(Spec):
    """Layers that follow each other, the whole sequence `repeat` times over."""

    layers: tuple[SerializeAsAny[Layer], ...]
    """The layers of one repetition, in order."""
    repeat: int = 1
    """How many times the sequence stands in the model [-]."""
    shared: bool = False
    """All repetitions use the same weights (ALBERT)."""

    @property
    def copies(self) -> int:
        """How many times its weights stand in the model [-]."""
        return 1 if self.shared else self.repeat


class Model(Spec):
    """What is computed: layers before the blocks, the blocks, layers after them.

    Examples
    --------
    >>> from perfmodel.decoder import decoder
    >>> tiny = decoder(name="tiny", layers=2, hidden=64, heads=4, inner=256, vocabulary=1000)
    >>> tiny.parameters
    259392
    """

    name: str
    """What reports call it."""
    family: str = ""
    """Architecture family, as `model_type` of a config.json."""
    entry: tuple[SerializeAsAny[Layer], ...]
    """Layers before the first block: embeddings."""
    blocks: tuple[Block, ...]
    """The repeated part; a pipeline is cut between its layers."""
    exit: tuple[SerializeAsAny[Layer], ...]
    """Layers after the last block: final norm, head, loss."""
    fixed_length: int | None = None
    """Positions of every input, where the model fixes them (patches of an image, one of a table row) [-]."""
    source: Model | None = None
    """A model that reads something else first: the encoder of a decoder, the image tower of a text model."""
    input: Literal["tokens", "image", "signal"] = "tokens"
    """What its first layer sees."""
    extent: tuple[int, ...] = ()
    """Height and width of the images it was made for, or length of the signal; () where it has none of its own [-]."""
    context_length: int | None = None
    """Positions that it was made for; None is not stated [-]."""
    sources: tuple[str, ...] = ()
    """Where the dimensions come from."""

    @classmethod
    def load(cls, name: str) -> Model:
        """A bundled model, one from `PERFMODEL_PATH`, or a model file.

        Parameters
        ----------
        name : id (see `models`) or path of a .yaml or config.json file

        Returns
        -------
        the model

        Raises
        ------
        UnknownNameError
            no such model; near names are suggested

        Examples
        --------
        >>> Model.load("llama-3.1-70b").parameters
        70553706496
        """
        if str(name).endswith(".json") or (Path(name) / "config.json").is_file():
            return cls.from_hf(name)
        spec = CATALOGUE.load(name)
        doubt = (f"unverified, as commonly stated: {', '.join(spec.unverified)}",) if spec.unverified else ()
        found = _reader(spec.format)(spec.config).replace(name=spec.id, sources=(*spec.sources, *doubt))
        return found.replace(context_length=spec.context_length) if spec.context_length else found

    @classmethod
    def from_hf(cls, config: str | Path | Mapping[str, Any], *, text_only: bool = False) -> Model:
        """A model from its Hugging Face config.json.

        Parameters
        ----------
        config : path of the file, of the folder that holds it, or the mapping itself
        text_only : of a multimodal model, take the text model alone

        Returns
        -------
        the model

        Raises
        ------
        InputError
            the file is missing or not JSON, the architecture is unknown, or its numbers contradict each other
        """
        return _reader("huggingface")(config, text_only=text_only)

    @property
    def depth(self) -> int:
        """Repetitions of all blocks together: what pipelines divide [-]."""
        return sum(block.repeat for block in self.blocks)

    @cached_property
    def hidden(self) -> int:
        """Width of the residual stream [-]."""
        return max((getattr(one, "hidden", 0) for block in self.blocks for one in block.layers), default=0)

    def layers(self) -> Iterable[tuple[Layer, int]]:
        """Every layer with how many times it stands in the model."""
        yield from ((layer, 1) for layer in self.entry)
        yield from ((layer, block.repeat) for block in self.blocks for layer in block.layers)
        yield from ((layer, 1) for layer in self.exit)
        if self.source is not None:
            yield from self.source.layers()

    def weights(self) -> Iterable[tuple[Weight, int]]:
        """Every parameter tensor with how many times it stands in the model."""
        parts = [(self.entry, 1), *((block.layers, block.copies) for block in self.blocks), (self.exit, 1)]
        for layers, times in parts:
            yield from ((weight, times) for layer in layers for weight in layer.weights())
        if self.source is not None:
            yield from self.source.weights()

    @property
    def parameters(self) -> int:
        """All parameters; a tied head counts once [-]."""
        return sum(weight.size * times for weight, times in self.weights())

    @property
    def active_parameters(self) -> int:
        """Parameters that one token uses: of routed experts its top_k, of all else everything [-].

        Authors print one of three numbers. This one holds the whole token table and the head; `active` leaves out
        either: `active(embedding=False)` is what most model cards mean, `active(embedding=False, head=False)` is
        "non-embedding". A tied head is the token table, and goes with it.
        """
        return self.active()

    def active(self, *, embedding: bool = True, head: bool = True) -> int:
        """Parameters that one token uses, with or without the ends of the model.

        Parameters
        ----------
        embedding : count the token table
        head : count the output projection, where it has a matrix of its own

        Returns
        -------
        parameters [-]

        Examples
        --------
        >>> mixtral = Model.load("mixtral-8x7b")
        >>> mixtral.active_parameters, mixtral.active(embedding=False), mixtral.active(embedding=False, head=False)
        (12879925248, 12748853248, 12617781248)
        """
        left_out = {kind for kind, wanted in (("embedding", embedding), ("head", head)) if not wanted}
        counted = (pair for pair in self.weights() if pair[0].kind not in left_out)
        return int(sum(weight.size * weight.active * times for weight, times in counted))

    @property
    def routed_parameters(self) -> int:
        """Parameters of all routed experts together; 0 in a dense model [-]."""
        return sum(weight.size * times for weight, times in self.weights() if weight.split == "ep")

    def parameters_by_kind(self) -> dict[str, int]:
        """Parameters by kind of tensor: matrix, norm, bias, embedding, position, head [-]."""
        found: dict[str, int] = {}
        for weight, times in self.weights():
            found[weight.kind] = found.get(weight.kind, 0) + weight.size * times
        return found

    def forward(self, p: Pass) -> Work:
        """The forward pass of the whole model as a tree of work."""
        steps = (Repeat(step.label, step.times, step.layer.forward(step.seen)) for step in walk(self, p))
        return Serial(self.name, tuple(steps))

    @overload
    def flops(
        self, *, batch: int = 1, sequence_length: int | None = None, mode: Mode = "forward", cached: int = 0,
        attention: AttentionCount = "windowed", logits: Logits = "all", per: Literal["model"] = "model",
        **entering: Any,
    ) -> int: ...  # fmt: skip
    @overload
    def flops(
        self, *, batch: int = 1, sequence_length: int | None = None, mode: Mode = "forward", cached: int = 0,
        attention: AttentionCount = "windowed", logits: Logits = "all", per: Literal["layer", "operator", "kind"],
        **entering: Any,
    ) -> dict[str, int]: ...  # fmt: skip
    def flops(
        self,
        *,
        batch: int = 1,
        sequence_length: int | None = None,
        mode: Mode = "forward",
        cached: int = 0,
        attention: AttentionCount = "windowed",
        logits: Logits = "all",
        per: Per = "model",
        **entering: Any,
    ) -> int | dict[str, int]:
        """Exact operations of the matrix products, convolutions and attention, two a multiply-add.

        Parameters
        ----------
        batch : sequences [-]
        sequence_length : tokens of each in this pass; None is 1 in decode, else what the model fixes, else 2048 [-]
        mode : "forward"; "training", forward and backward without recomputation; "prefill"; or "decode", one token a
            sequence against a cache
        cached : tokens of each that earlier passes left in the cache [-]
        attention : masks that are credited: "windowed", causal mask and windows; "causal", that mask alone; or
            "full", none, as torch's counter and PaLM do. Decoding never looks beyond a window: the cache holds no more.
        logits : positions of a prefill that get logits: "all", as torch computes them, or "last", as engines do
        per : "model", one number; "layer", "operator" or "kind" of operator, one number for each, by name
        **entering : source_length, tokens or frames that an encoder reads; image_size, side of a square image or its
            height and width; samples of a signal. Where nothing is given a model of images takes its own size, an
            encoder as many tokens as the decoder [-]

        Returns
        -------
        operations [FLOP]

        Examples
        --------
        >>> model = Model.load("llama-3.1-70b")
        >>> model.flops(sequence_length=1)
        139006050304
        >>> model.flops(mode="decode", cached=1024, per="kind")
        {'matmul': 139003428864, 'attention': 2686976000}
        """
        question = Counting(mode, batch, sequence_length, cached, attention, logits, Entrance.of(entering))
        return question.of(self, per)

    def attending(self, attention: AttentionCount) -> Model:
        """The same model with no more masks than a way of counting credits.

        Parameters
        ----------
        attention : "windowed", as it is; "causal", without windows; "full", over all positions (the PaLM convention)
        """

        def kept(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
            return tuple(masked(layer, attention) for layer in layers)

        blocks = tuple(block.replace(layers=kept(block.layers)) for block in self.blocks)
        source = self.source and self.source.attending(attention)
        parts = {"entry": kept(self.entry), "blocks": blocks, "exit": kept(self.exit), "source": source}
        return self.model_copy(update=parts)

    def kv_bytes(self, *, context: int, dtype_bytes: float = 2, reserved: bool = False) -> float:
        """Keys and values of one sequence, in all layers.

        Parameters
        ----------
        context : tokens of the sequence [-]
        dtype_bytes : of a key or a value [B]
        reserved : count every position in every layer, as engines do that keep full pages for windowed layers too;
            else only those that a window still holds

        Returns
        -------
        bytes [B]

        Examples
        --------
        >>> gemma = Model.load("gemma-3-1b")
        >>> gemma.kv_bytes(context=8192), gemma.kv_bytes(context=8192, reserved=True)
        (45088768, 218103808)
        """
        size = Fraction(str(dtype_bytes))
        found = sum(
            times * (layer.kv_bytes_reserved(context, size) if reserved else layer.kv_bytes(context, size))
            for layer, times in self.layers()
        )
        return int(found) if found == int(found) else float(found)

    def kv_bytes_per_token(self, dtype_bytes: float = 2) -> float:
        """Keys and values of one token, in all layers, as long as no window has passed it.

        Parameters
        ----------
        dtype_bytes : of a key or a value [B]

        Returns
        -------
        bytes a token [B]

        Examples
        --------
        >>> Model.load("llama-3.1-70b").kv_bytes_per_token()
        327680
        """
        return self.kv_bytes(context=1, dtype_bytes=dtype_bytes)

    @property
    def most_positions(self) -> int | None:
        """Longest sequence of tokens that has positions: rows of a learned table, or what was stated; None is any [-].

        Examples
        --------
        >>> Model.load("gpt2").most_positions
        1024
        """
        tables = [layer.positions for layer in self.entry if isinstance(layer, PositionTable)]
        rows = max(tables, default=None)  # kinds of segments have a table, too: a small one
        return min((size for size in (rows, self.context_length) if size is not None), default=None)

    @property
    def head(self) -> Head | None:
        """The output projection, if the model has one."""
        return next((layer for layer in self.exit if isinstance(layer, Head)), None)

    @property
    def generates(self) -> bool:
        """It has a head over its vocabulary, and keeps keys, values or a state of what it has read."""
        kept = (layer.kv_bytes(1, 1) or layer.state_bytes(1) for layer, _ in self.layers())
        return self.head is not None and any(kept)

    @property
    def vocabulary(self) -> int:
        """Rows of the token table; 0 without one [-]."""
        return next((layer.vocabulary for layer in self.entry if isinstance(layer, Embedding)), 0)

    def check(self) -> Model:
        """Refuse a model whose parts contradict each other, all faults at once."""
        faults = Faults(f"model {self.name!r}")
        for layer, times in (pair for pair in self.layers() if pair[1] < 1):
            faults.add(f"{type(layer).__name__} is repeated {times} times; it must stand at least once")
        faults.raise_if_any()
        return self

    def __repr__(self) -> str:
        size = self.parameters / 1e9
        return f"Model({self.name!r}, family={self.family!r}, {size:.4g} B parameters, {self.depth} layers)"

    __str__ = __repr__


class ModelSpec(SourcedSpec):
    """A model file: where its dimensions come from, and the dimensions in a named format."""

    aliases: tuple[str, ...] = ()
    """Other names it is found by, such as its repositories."""
    format: str = "huggingface"
    """What `config` is: huggingface (the size-setting keys of a config.json), or decoder (the fields of `Decoder`)."""
    context_length: int | None = Field(default=None, gt=0)
    """Positions it was made for (`max_position_embeddings`), where `config` does not say [-]."""
    config: dict[str, Any]
    """The dimensions, in that format."""


CATALOGUE = Catalogue("model", ModelSpec, "models", bundled="model_specs")
_FORMATS: dict[str, Callable[..., Model]] = {}


def register_format(name: str, reader: Callable[..., Model]) -> None:
    """Teach `Model.load` a further description of models.

    Parameters
    ----------
    name : of the format, as `format:` in a model file
    reader : from a configuration to a model
    """
    _FORMATS[name] = reader


def _reader(name: str) -> Callable[..., Model]:
    if name not in _FORMATS:
        raise UnsupportedError(f"model format {name!r} is not known; known: {', '.join(sorted(_FORMATS))}")
    return _FORMATS[name]


def models() -> dict[str, str]:
    """Names of all models that can be loaded, with where each comes from."""
    return CATALOGUE.names()
