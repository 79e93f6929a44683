"""Whisper: speech to text."""

from __future__ import annotations

from perfmodel.decoder import Depth, Size
from perfmodel.huggingface.bart import BartLike
from perfmodel.huggingface.seq2seq import Halves
from perfmodel.layers.batch_norm import Activation
from perfmodel.layers.convolution import Convolution
from perfmodel.layers.embedding import PositionTable
from perfmodel.model import Model

__all__ = ["Whisper"]


class Whisper(BartLike):
    """Two convolutions over mel frames, then an encoder and a decoder with norms before the sub-layers."""

    prefix = "Whisper"

    vocab_size: Size = 51865
    """Tokens known [-]."""
    num_mel_bins: Size = 80
    """Bands of the spectrogram [-]."""
    d_model: Size = 384
    """Model width [-]."""
    encoder_layers: Depth = 4
    """Layers of the encoder [-]."""
    encoder_ffn_dim: Size = 1536
    """Feed-forward width of the encoder [-]."""
    encoder_attention_heads: Size = 6
    """Heads of the encoder [-]."""
    decoder_layers: Depth = 4
    """Layers of the decoder [-]."""
    decoder_ffn_dim: Size = 1536
    """Feed-forward width of the decoder [-]."""
    decoder_attention_heads: Size = 6
    """Heads of the decoder [-]."""
    max_source_positions: Size = 1500
    """Positions of the encoder, each of two frames [-]."""
    max_target_positions: Size = 448
    """Positions of the decoder [-]."""

    def halves(self) -> Halves:
        """The two halves that the keys describe."""
        stacks = self.stacks(arrangement="pre", key_bias=False)
        tables = (
            PositionTable(positions=rows, width=self.d_model)
            for rows in (self.max_source_positions, self.max_target_positions)
        )
        source, target = tables
        return Halves(*stacks, (source,), (target,))

    def reader(self, *, name: str, family: str) -> Model:
        """The encoder: frames, halved by the second convolution.

        Parameters
        ----------
        name, family : of the whole model
        """
        width = self.d_model
        stem = (
            Convolution(inputs=self.num_mel_bins, outputs=width, kernel=(3,), padding=(1,)),
            Activation(width=width, kind="gelu"),
            Convolution(inputs=width, outputs=width, kernel=(3,), stride=(2,), padding=(1,)),
            Activation(width=width, kind="gelu"),
        )
        text = super().reader(name=name, family=family)
        return text.replace(
            entry=(*stem, *text.entry[1:]), input="signal", extent=(2 * self.max_source_positions,)
        )
