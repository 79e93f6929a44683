"""A model as blocks of layers, times a repeat; its parameters and FLOPs exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import SerializeAsAny

from perfmodel.errors import Faults, UnsupportedError
from perfmodel.layers import Layer, Pass, Weight
from perfmodel.layers.embedding import Embedding, Head
from perfmodel.specs import Catalogue, SourcedSpec, Spec
from perfmodel.work import Repeat, Serial, Work, flops, total

__all__ = ["Block", "Model", "ModelSpec", "models", "register_format"]


class Block(Spec):
    """Layers that follow each other, the whole sequence `repeat` times over."""

    layers: tuple[SerializeAsAny[Layer], ...]
    """The layers of one repetition, in order."""
    repeat: int = 1
    """How many times the sequence stands in the model [-]."""


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
        return _reader(spec.format)(spec.config).replace(name=spec.id, sources=spec.sources)

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
        widths = [getattr(layer, "hidden", 0) for block in self.blocks for layer in block.layers]
        return max(widths, default=0)

    def layers(self) -> Iterable[tuple[Layer, int]]:
        """Every layer with how many times it stands in the model."""
        yield from ((layer, 1) for layer in self.entry)
        yield from ((layer, block.repeat) for block in self.blocks for layer in block.layers)
        yield from ((layer, 1) for layer in self.exit)

    def weights(self) -> Iterable[tuple[Weight, int]]:
        """Every parameter tensor with how many times it stands in the model."""
        return ((weight, times) for layer, times in self.layers() for weight in layer.weights())

    @property
    def parameters(self) -> int:
        """All parameters; a tied head counts once [-]."""
        return sum(weight.size * times for weight, times in self.weights())

    @property
    def active_parameters(self) -> int:
        """Parameters that one token uses; all of them in a dense model [-]."""
        return self.parameters

    def parameters_by_kind(self) -> dict[str, int]:
        """Parameters by kind of tensor: matrix, norm, bias, embedding, position, head [-]."""
        found: dict[str, int] = {}
        for weight, times in self.weights():
            found[weight.kind] = found.get(weight.kind, 0) + weight.size * times
        return found

    def forward(self, p: Pass) -> Work:
        """The forward pass of the whole model as a tree of work."""
        blocks = (
            Repeat("block", block.repeat, Serial("block", tuple(layer.forward(p) for layer in block.layers)))
            for block in self.blocks
        )
        ends = (tuple(layer.forward(p) for layer in part) for part in (self.entry, self.exit))
        entry, leave = ends
        return Serial(self.name, (*entry, *blocks, *leave))

    def flops(
        self, *, batch: int = 1, sequence_length: int = 2048, mode: str = "forward", causal: bool = True
    ) -> int:
        """Exact operations of the matrix products and attention, two a multiply-add.

        Parameters
        ----------
        batch : sequences [-]
        sequence_length : tokens each [-]
        mode : "forward", or "training" (three times forward)
        causal : credit the causal mask; False counts attention in full, as torch's counter and PaLM do

        Returns
        -------
        operations [FLOP]

        Examples
        --------
        >>> Model.load("llama-3.1-70b").flops(sequence_length=1)
        139006050304
        """
        times = {"forward": 1, "training": 3}.get(mode)
        if times is None:
            raise UnsupportedError(f"mode = {mode!r}: FLOPs are counted for 'forward' or 'training'")
        one = Fraction(1)  # exact arithmetic: no float ever holds a count
        p = Pass(Fraction(batch), Fraction(sequence_length), Fraction(sequence_length), one, one)
        count = total(self.unmasked().forward(p) if not causal else self.forward(p), flops)
        return int(times * count)

    def unmasked(self) -> Model:
        """The same model with attention over all positions: how the PaLM convention and torch count."""

        def full(layer: Layer) -> Layer:
            return (
                layer.model_copy(update={"causal": False, "window": None})
                if hasattr(layer, "causal")
                else layer
            )

        blocks = tuple(
            block.replace(layers=tuple(full(layer) for layer in block.layers)) for block in self.blocks
        )
        return self.model_copy(update={"blocks": blocks})

    @property
    def head(self) -> Head | None:
        """The output projection, if the model has one."""
        return next((layer for layer in self.exit if isinstance(layer, Head)), None)

    @property
    def vocabulary(self) -> int:
        """Rows of the token table; 0 without one [-]."""
        return next((layer.vocabulary for layer in self.entry if isinstance(layer, Embedding)), 0)

    def check(self) -> Model:
        """Refuse a model whose parts contradict each other, all faults at once."""
        faults = Faults(f"model {self.name!r}")
        for layer, times in self.layers():
            if times < 1:
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


def read_json(path: Path) -> Any:
    """A JSON file, or a clear error."""
    return json.loads(path.read_text(encoding="utf-8"))
