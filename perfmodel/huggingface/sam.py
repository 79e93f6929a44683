"""Segment Anything: an image tower with windows, and a small decoder that draws masks from points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar

from pydantic import Field

from perfmodel.decoder import Depth, Size
from perfmodel.huggingface.clip import nested_faults
from perfmodel.huggingface.headed import Headed
from perfmodel.huggingface.vision import ImageModel, Side, pair
from perfmodel.layers.base import Layer
from perfmodel.layers.batch_norm import Activation
from perfmodel.layers.convolution import Convolution, TransposedConvolution
from perfmodel.layers.cross_attention import CrossAttention, SourceAttention
from perfmodel.layers.encoder_attention import EncoderAttention
from perfmodel.layers.masks import MaskProduct, SourceStream, WavePositions
from perfmodel.layers.mlp import Mlp
from perfmodel.layers.norm import Norm, Residual
from perfmodel.layers.pooling import Readout
from perfmodel.layers.position_bias import LearnedVectors
from perfmodel.layers.window_attention import WindowAttention
from perfmodel.model import Block, Model

__all__ = ["Sam", "SamVision"]

POINTS = 2
"""Tokens of a prompt of one point: itself, and one for no further point [-]."""

BLOCK_RATE = 2
"""Attention between tokens and image in a block of the decoder is so many times narrower than the tokens [-]."""


def _norm(width: int) -> Norm:
    return Norm(width=width, kind="layer", bias=True)


class SamVision(ImageModel):
    """A ViT whose attention stays within windows but in a few layers, and a neck of two convolutions."""

    prefix = "SamVision"
    heads: ClassVar[tuple[str, ...]] = ("Model",)

    hidden_size: Size = 768
    """Model width [-]."""
    output_channels: Size = 256
    """Width of what leaves [-]."""
    num_hidden_layers: Depth = 12
    """Layers [-]."""
    num_attention_heads: Size = 12
    """Heads [-]."""
    image_size: Side = 1024
    """Height and width of an image [-]."""
    hidden_act: str = "gelu"
    """Non-linearity of the feed-forward."""
    qkv_bias: bool = True
    """Query, key and value projections have a bias."""
    mlp_ratio: float = Field(default=4.0, gt=0, le=1000)
    """Feed-forward width over the model's [-]."""
    mlp_dim: Size | None = None
    """Feed-forward width; none means by that ratio [-]."""
    use_abs_pos: bool = True
    """Patches have a learned position."""
    use_rel_pos: bool = True
    """Attention has learned vectors for offsets."""
    window_size: int = Field(default=14, ge=0, le=1_000_000)
    """Patches along each side of a window; 0 is none [-]."""
    global_attn_indexes: tuple[int, ...] = (2, 5, 8, 11)
    """Layers whose attention sees the whole image."""
    num_pos_feats: Size = 128
    """Waves that say where a point is [-]."""

    @property
    def grid(self) -> tuple[int, int]:
        """Patches down and across [-]."""
        height, width = pair(self.image_size)
        down, across = pair(self.patch_size)
        return height // down, width // across

    def layer(self, *, everywhere: bool) -> tuple[Layer, ...]:
        """One block.

        Parameters
        ----------
        everywhere : its attention sees the whole image
        """
        width, heads = self.hidden_size, self.num_attention_heads
        attention = WindowAttention(
            hidden=width, heads=heads, kv_heads=heads, head_dim=width // heads, qkv_bias=self.qkv_bias,
            side=None if everywhere else self.window_size, relative="axes" if self.use_rel_pos else "none",
            table_grid=self.grid if everywhere else None,
        )  # fmt: skip
        inner = self.mlp_dim or max(int(width * self.mlp_ratio), 1)
        mlp = Mlp(hidden=width, inner=inner, gated=False, bias=True, activation=self.hidden_act)
        add = Residual(width=width)
        return (_norm(width), attention, add, _norm(width), mlp, add)

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        width, leaving = self.hidden_size, self.output_channels
        positions = self.patches if self.use_abs_pos else 0
        chosen = {*self.global_attn_indexes}
        depth = self.num_hidden_layers
        everywhere = depth if not self.window_size else sum(n in chosen for n in range(depth))
        counts = ((True, everywhere), (False, depth - everywhere))
        neck = (
            Convolution(inputs=width, outputs=leaving, kernel=(1, 1), bias=False),
            _norm(leaving),
            Convolution(inputs=leaving, outputs=leaving, kernel=(3, 3), padding=(1,), bias=False),
            _norm(leaving),
        )
        return Model(
            name=name,
            family=family,
            entry=(self.patch_embedding(width, 0, positions=positions),),
            blocks=tuple(Block(layers=self.layer(everywhere=whole), repeat=n) for whole, n in counts if n),
            exit=neck,
            input="image",
            extent=pair(self.image_size),
        )


class SamPrompt(Headed):
    """What makes vectors of points, boxes and masks."""

    prefix = "SamPrompt"
    heads: ClassVar[tuple[str, ...]] = ("Encoder",)
    head_keys = ("", "", "", "")

    hidden_size: Size = 256
    """Width of a token [-]."""
    mask_input_channels: int = Field(default=16, ge=4, le=1_000_000)
    """Channels of the second convolution over masks [-]."""
    num_point_embeddings: Depth = 4
    """Kinds of points [-]."""

    def learned(self) -> tuple[Layer, ...]:
        """The vectors of kinds of points, and the convolutions over masks, which a prompt of points leaves idle."""
        width, wide = self.hidden_size, self.mask_input_channels
        narrow = wide // 4
        shapes = {
            "points": (self.num_point_embeddings, width), "no point": (1, width), "no mask": (1, width),
            "mask filters 1": (narrow, 1, 2, 2), "mask bias 1": (narrow,),
            "mask filters 2": (wide, narrow, 2, 2), "mask bias 2": (wide,),
            "mask filters 3": (width, wide, 1, 1), "mask bias 3": (width,),
            "mask norm 1": (2 * narrow,), "mask norm 2": (2 * 4 * narrow,),
        }  # fmt: skip
        return tuple(LearnedVectors(name=name, shape=shape) for name, shape in shapes.items())


class SamDecoder(Headed):
    """A transformer of two ways, tokens to image and back, and what draws masks of its result."""

    prefix = "SamMask"
    heads: ClassVar[tuple[str, ...]] = ("Decoder",)
    head_keys = ("hidden_size", "num_attention_heads", "", "")

    hidden_size: Size = 256
    """Width of a token [-]."""
    mlp_dim: Size = 2048
    """Feed-forward width [-]."""
    num_hidden_layers: Depth = 2
    """Layers [-]."""
    num_attention_heads: Size = 8
    """Heads [-]."""
    attention_downsample_rate: Depth = 2
    """The last attention of tokens to the image is so many times narrower; those in the blocks always twice [-]."""
    num_multimask_outputs: Depth = 3
    """Masks besides the one of an unambiguous prompt [-]."""
    iou_head_depth: int = Field(default=3, ge=2, le=1000)
    """Linear layers that tell how good a mask is [-]."""
    iou_head_hidden_dim: Size = 256
    """Width between them [-]."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        names = ("hidden_size", "num_attention_heads", "attention_downsample_rate")
        width, heads, rate = (cls._number(keys, name) for name in names)
        for narrower in dict.fromkeys((rate, BLOCK_RATE)):
            if width and heads and narrower and width % (narrower * heads):
                yield (
                    f"num_attention_heads = {heads} must divide hidden_size = {width} over {narrower}, the width of "
                    "attention between tokens and image"
                )

    @property
    def masks(self) -> int:
        """Masks drawn [-]."""
        return self.num_multimask_outputs + 1

    @property
    def tokens(self) -> int:
        """Tokens that are not of the prompt: one a mask, one for their quality [-]."""
        return self.masks + 1

    def _narrow(self, rate: int = BLOCK_RATE) -> dict[str, int]:
        width, heads = self.hidden_size, self.num_attention_heads
        return {"hidden": width, "heads": heads, "head_dim": width // rate // heads}

    def block(self) -> tuple[Layer, ...]:
        """Tokens among themselves, tokens to image, feed-forward, image to tokens."""
        width, heads = self.hidden_size, self.num_attention_heads
        alone = EncoderAttention(hidden=width, heads=heads, kv_heads=heads, head_dim=width // heads)
        mlp = Mlp(hidden=width, inner=self.mlp_dim, gated=False, bias=True, activation="relu")
        parts = (alone, CrossAttention(**self._narrow()), mlp, SourceAttention(**self._narrow()))
        return tuple(layer for part in parts for layer in (part, Residual(width=width), _norm(width)))

    def perceptron(self, inner: int, outputs: int, depth: int) -> tuple[Layer, ...]:
        """Linear layers on one token.

        Parameters
        ----------
        inner, outputs : widths [-]
        depth : layers [-]
        """
        widths = (self.hidden_size, *(inner,) * (depth - 1), outputs)
        return tuple(Readout(inputs=a, outputs=b) for a, b in pairwise(widths))

    def drawn(self) -> tuple[Layer, ...]:
        """A last look at the image; then a vector a mask, their quality, and a finer image to multiply with."""
        width = self.hidden_size
        hyper = self.perceptron(width, width // 8, 3) * self.masks
        quality = self.perceptron(self.iou_head_hidden_dim, self.masks, self.iou_head_depth)
        finer = (
            SourceStream(),
            TransposedConvolution(inputs=width, outputs=width // 4, kernel=(2, 2)),
            _norm(width // 4),
            Activation(width=width // 4, kind="gelu"),
            TransposedConvolution(inputs=width // 4, outputs=width // 8, kernel=(2, 2)),
            Activation(width=width // 8, kind="gelu"),
            MaskProduct(masks=self.masks, width=width // 8),
        )
        last = CrossAttention(**self._narrow(self.attention_downsample_rate))
        return (last, _norm(width), *hyper, *quality, *finer)


class Sam(Headed):
    """Image tower, prompt encoder and mask decoder."""

    whole = True
    prefix = "Sam"
    heads: ClassVar[tuple[str, ...]] = ("Model",)
    head_keys = ("", "", "", "")

    vision_config: dict[str, Any] | None = None
    """Keys of the image tower."""
    prompt_encoder_config: dict[str, Any] | None = None
    """Keys of the prompt encoder."""
    mask_decoder_config: dict[str, Any] | None = None
    """Keys of the mask decoder."""

    @classmethod
    def contradictions(cls, keys: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for each rule between keys that a config.json breaks.

        Parameters
        ----------
        keys : of the config.json, as they are
        """
        yield from super().contradictions(keys)
        yield from nested_faults(SamVision, keys, "vision_config")
        yield from nested_faults(SamDecoder, keys, "mask_decoder_config")

    def model(self, *, name: str, family: str) -> Model:
        """The model that the keys describe: the mask decoder, with the image tower as its source.

        Parameters
        ----------
        name : what reports call it
        family : its `model_type`
        """
        vision = SamVision.model_validate(self.vision_config or {})
        prompt = SamPrompt.model_validate(self.prompt_encoder_config or {})
        decoder = SamDecoder.model_validate(self.mask_decoder_config or {})
        tokens = LearnedVectors(name="mask tokens", shape=(decoder.tokens, decoder.hidden_size))
        waves = WavePositions(waves=vision.num_pos_feats, points=POINTS)
        return Model(
            name=name,
            family=family,
            source=vision.model(name="SamVision", family="sam_vision_model"),
            entry=(waves, *prompt.learned(), tokens),
            blocks=(Block(layers=decoder.block(), repeat=decoder.num_hidden_layers),),
            exit=decoder.drawn(),
            fixed_length=decoder.tokens + POINTS,
        )
