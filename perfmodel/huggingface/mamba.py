"""Mamba, Falcon Mamba and Mamba-2: nothing but state-space layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from perfmodel.decoder import Decoder, Depth, Size
from perfmodel.huggingface.family import Family
from perfmodel.layers.state_space import Mamba as MambaLayer
from perfmodel.layers.state_space import Mamba2 as Mamba2Layer

__all__ = ["FalconMamba", "Mamba", "Mamba2", "step_rank"]


def step_rank(given: int | str, hidden: int) -> int:
    """Width from which the step sizes are projected [-].

    Parameters
    ----------
    given : what the file says; "auto" is a sixteenth of the model's width
    hidden : the model's width [-]

    Examples
    --------
    >>> step_rank("auto", 1000), step_rank(256, 1000)
    (63, 256)
    """
    return math.ceil(hidden / 16) if isinstance(given, str) else given


class StateSpace(Family):
    """The keys that these families share."""

    head_keys = ("", "", "", "")

    vocab_size: Size
    """Tokens known [-]."""
    hidden_size: Size
    """Model width [-]."""
    num_hidden_layers: Depth
    """Layers [-]."""
    state_size: Size = 16
    """States of one channel [-]."""
    expand: Size = 2
    """Channels of the scan over the model's width [-]."""
    conv_kernel: Size = 4
    """Positions of the depthwise convolution [-]."""
    use_bias: bool = False
    """Input and output projection have a bias."""
    use_conv_bias: bool = True
    """The depthwise convolution has a bias."""
    tie_word_embeddings: bool = True
    """The head shares the token table."""

    def describe(self, mixer: MambaLayer | Mamba2Layer) -> Decoder:
        """A stack of one kind of layer.

        Parameters
        ----------
        mixer : the layer
        """
        return Decoder(
            layers=self.num_hidden_layers,
            hidden=self.hidden_size,
            vocabulary=self.vocab_size,
            tied=self.tie_word_embeddings,
            arrangement="single",
            mixers=(mixer,),
        )


class Mamba(StateSpace):
    """Mamba-1 behind one norm in every layer."""

    time_step_rank: Size | Literal["auto"] = "auto"
    """Width from which the step sizes are projected; auto is a sixteenth of the model's [-]."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(self._mixer())

    def _mixer(self) -> MambaLayer:
        return MambaLayer(
            hidden=self.hidden_size,
            inner=self.expand * self.hidden_size,
            state=self.state_size,
            rank=step_rank(self.time_step_rank, self.hidden_size),
            kernel=self.conv_kernel,
            kernel_bias=self.use_conv_bias,
            bias=self.use_bias,
        )


class FalconMamba(Mamba):
    """The same with norms inside that have nothing to learn."""

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(self._mixer().replace(norms="weightless"))


class Mamba2(StateSpace):
    """Mamba-2 behind one norm in every layer."""

    state_size: Size = 128
    """States of one channel [-]."""
    num_heads: Size = 128
    """Heads of the scan [-]."""
    head_dim: Size = 64
    """Channels of a head [-]."""
    n_groups: Size = 8
    """Groups of heads that share what goes in and out of the state [-]."""
    chunk_size: Size = 256
    """Positions of a chunk of the scan [-]."""
    tie_word_embeddings: bool = False
    """The head shares the token table."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are; those of a wrong type are passed over here
        """
        yield from super().contradictions(keys)
        names = ("num_heads", "head_dim", "expand", "hidden_size", "n_groups")
        heads, size, expand, hidden, groups = (cls._number(keys, name) for name in names)
        if heads and size and expand and hidden and heads * size != expand * hidden:
            wide = f"expand · hidden_size = {expand} · {hidden} = {expand * hidden}"
            yield f"num_heads · head_dim = {heads} · {size} = {heads * size} must be {wide}"
        if heads and groups and heads % groups:
            yield f"n_groups = {groups} must divide num_heads = {heads}"

    def decoder(self) -> Decoder:
        """The decoder that the keys describe."""
        return self.describe(
            Mamba2Layer(
                hidden=self.hidden_size,
                heads=self.num_heads,
                head_dim=self.head_dim,
                state=self.state_size,
                groups=self.n_groups,
                kernel=self.conv_kernel,
                kernel_bias=self.use_conv_bias,
                bias=self.use_bias,
                scan_chunk=self.chunk_size,
            )
        )
