"""Layers of images, signals and two sequences: weights, operations and saved bytes by hand, conserved under splits."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.errors import InputError
from perfmodel.layers import Pass
from perfmodel.layers.batch_norm import Activation, BatchNorm, LayerScale
from perfmodel.layers.convolution import Convolution, TransposedConvolution
from perfmodel.layers.cross_attention import AttentionPooling, CrossAttention, SourceAttention
from perfmodel.layers.encoder_attention import EncoderAttention
from perfmodel.layers.masks import MaskProduct, SourceStream, WavePositions
from perfmodel.layers.patch import PatchEmbedding, PatchMerging
from perfmodel.layers.pooling import GlobalPooling, Pooling, Readout
from perfmodel.layers.position_bias import LearnedVectors, RelativeBias
from perfmodel.layers.similarity import Similarity
from perfmodel.layers.window_attention import WindowAttention
from perfmodel.work import Matmul, flops, leaves, memory_bytes, total

SIZE = st.integers(1, 4)


def seen(*extent, sequences=2, **changes):
    """One pass over images or signals in exact arithmetic."""
    one = Fraction(1)
    p = Pass(Fraction(sequences), one, one, one, one, **changes)
    return p.of_extent(*map(Fraction, extent)) if extent else p


def parameters(layer):
    return sum(weight.size for weight in layer.weights())


def done(work):
    return total(work, flops)


# --- convolutions -------------------------------------------------------------------------------------------------


def test_a_convolution_is_counted_as_torch_does():
    """Conv2d(3, 64, 7, stride 2, padding 3) on 224 × 224: 236,027,904 forward, as much for the filters' gradient."""
    layer, p = (
        Convolution(inputs=3, outputs=64, kernel=(7, 7), stride=(2,), padding=(3,)),
        seen(224, 224, sequences=1),
    )
    assert parameters(layer) == 64 * 3 * 49 + 64
    assert layer.after(p).extent == (112, 112)
    assert done(layer.forward(p)) == 236_027_904
    assert done(layer.backward(p)) - done(layer.spared(p, first=True)) == 236_027_904
    assert done(layer.spared(p, first=False)) == 0
    assert layer.saved(p) == 224 * 224 * 3 * 2


@given(
    groups=SIZE, wide=SIZE, narrow=SIZE, kernel=SIZE, stride=SIZE, padding=SIZE, dilation=SIZE,
    size=st.integers(20, 40),
)  # fmt: skip
def test_convolutions_by_hand(groups, wide, narrow, kernel, stride, padding, dilation, size):
    """One multiply-add for each result, tap and channel of its group; each operand moved once."""
    inputs, outputs = groups * narrow, groups * wide
    layer = Convolution(
        inputs=inputs, outputs=outputs, kernel=(kernel,), stride=(stride,), padding=(padding,),
        dilation=(dilation,), groups=groups, bias=False,
    )  # fmt: skip
    results = len(range(0, size + 2 * padding - dilation * (kernel - 1), stride))
    p = seen(size)
    assert layer.after(p).extent == (results,)
    assert done(layer.forward(p)) == 2 * 2 * results * outputs * narrow * kernel
    assert done(layer.backward(p)) == 2 * done(layer.forward(p))
    moved = 2 * size * inputs + outputs * narrow * kernel + 2 * results * outputs
    assert total(layer.forward(p), memory_bytes) == 2 * moved
    dgrad, wgrad = leaves(layer.backward(p))
    assert memory_bytes(dgrad) == 2 * moved
    gradient = 2 * 4 * outputs * narrow * kernel  # read and written in 32 bits
    assert memory_bytes(wgrad) == 2 * 2 * (size * inputs + results * outputs) + gradient


def test_a_convolution_that_keeps_the_length():
    layer = Convolution(
        inputs=32, outputs=32, kernel=(4,), padding=(2,), groups=2, cut=1, norm_scales=4, bias=False
    )
    assert parameters(layer) == 32 * 16 * 4 + 4
    assert layer.after(seen(10)).extent == (10,)
    assert done(layer.forward(seen(10))) == 2 * 2 * 11 * 32 * 16 * 4  # one more is computed


def test_a_shortcut_leaves_the_way_as_it_is():
    layer = Convolution(inputs=4, outputs=8, kernel=(1, 1), stride=(2,), shortcut=True)
    assert layer.after(seen(8, 8)) == seen(8, 8)
    assert done(layer.forward(seen(8, 8))) == 2 * 2 * 16 * 8 * 4


def test_a_transposed_convolution_makes_more_positions():
    layer, p = TransposedConvolution(inputs=8, outputs=4, kernel=(2, 2)), seen(3, 5)
    assert parameters(layer) == 8 * 4 * 4 + 4
    assert layer.after(p).extent == (6, 10)
    assert done(layer.forward(p)) == 2 * 2 * 15 * 8 * 4 * 4
    assert done(layer.backward(p)) == 2 * done(layer.forward(p))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="groups = 3 must divide inputs = 4"):
        Convolution(inputs=4, outputs=6, kernel=(1,), groups=3)
    with pytest.raises(InputError, match="give image_size"):
        Convolution(inputs=4, outputs=6, kernel=(1, 1)).forward(seen())
    with pytest.raises(InputError, match="give image_size"):
        Pooling(width=4, kernel=2).forward(seen())
    with pytest.raises(InputError, match="give image_size"):
        WindowAttention(hidden=8, heads=2, kv_heads=2, head_dim=4).forward(seen())


# --- pooling, norms, readouts -------------------------------------------------------------------------------------


def test_pooling_sees_windows_and_all():
    layer, p = Pooling(width=64, kernel=3, stride=2, padding=1), seen(112, 112)
    assert layer.after(p).extent == (56, 56)
    assert Pooling(width=4, kernel=4).after(seen(64, 64)).tokens == 2 * 256
    assert layer.saved(p) == 2 * 64 * (112**2 * 2 + 56**2 * 8)
    assert GlobalPooling(width=64).after(p).tokens == 2
    assert parameters(layer) == done(layer.forward(p)) == done(layer.backward(p)) == 0


@pytest.mark.parametrize(
    ("layer", "count"),
    [
        (BatchNorm(width=8), 16), (Activation(width=8), 0), (LayerScale(width=8), 8),
        (RelativeBias(buckets=32, heads=4), 128), (LearnedVectors(shape=(1, 5)), 5), (LearnedVectors(shape=()), 1),
    ],
)  # fmt: skip
def test_what_only_streams(layer, count):
    p = seen(4, 4)
    assert parameters(layer) == count
    assert done(layer.forward(p)) == done(layer.backward(p)) == 0
    assert layer.saved(p) >= 0


def test_a_readout_reads_one_vector_a_sequence():
    layer, p = Readout(inputs=8, outputs=3), seen(7)
    assert parameters(layer) == 8 * 3 + 3
    assert done(layer.forward(p)) == 2 * 2 * 8 * 3
    assert done(layer.backward(p)) == 2 * done(layer.forward(p))


# --- patches ------------------------------------------------------------------------------------------------------


def test_patches_of_an_image_or_of_a_sequence():
    layer = PatchEmbedding(width=16, channels=3, patch=(4, 2), tokens=1, positions=13, mask_tokens=1)
    assert parameters(layer) == 16 * 3 * 8 + 16 + 16 + 13 * 16 + 16
    image = seen(13, 8)  # three whole patches down, four across
    assert layer.after(image).queries == 13
    sequence = seen().of_length(Fraction(13))
    assert layer.after(sequence) == sequence
    for p in (image, sequence):
        assert done(layer.forward(p)) == 2 * 2 * 12 * 16 * 24
        assert done(layer.backward(p)) == done(layer.spared(p, first=False)) == done(layer.forward(p))
    assert layer.replace(padded=True).after(image).queries == 17


def test_patches_merge_two_by_two():
    layer, p = PatchMerging(width=8), seen(7, 6)
    assert parameters(layer) == 4 * 8 * 2 * 8 + 2 * 4 * 8
    assert layer.after(p).extent == (4, 3)
    assert done(layer.forward(p)) == 2 * 2 * 12 * 32 * 16
    assert done(layer.backward(p)) == 2 * done(layer.forward(p))


# --- attention ----------------------------------------------------------------------------------------------------


def cross(**changes):
    return CrossAttention(**({"hidden": 32, "heads": 4, "head_dim": 8, "source_width": 24} | changes))


def test_cross_attention_by_hand():
    layer, p = cross(), seen(7, source=Fraction(11))
    assert parameters(layer) == 32 * 32 + 24 * 64 + 32 * 32 + 4 * 32
    assert parameters(cross(key_bias=False, output_bias=False)) == parameters(layer) - 64
    linear = 2 * 2 * (7 * 32 * 32 * 2 + 11 * 24 * 64)
    assert done(layer.forward(p)) == linear + 2 * 4 * 7 * 11 * 32
    eager = p._replace(fused_attention=False)
    assert done(layer.forward(eager)) == done(layer.forward(p))
    assert done(layer.backward(eager)) == 2 * done(layer.forward(eager))
    cached = p._replace(source_cached=True)
    assert done(layer.forward(p)) - done(layer.forward(cached)) == 2 * 2 * 11 * 24 * 64
    assert layer.saved(p) == 2 * 2 * (7 * 32 * 3 + 2 * 11 * 32) + 2 * 7 * 4 * 4
    assert layer.saved(eager) - layer.saved_core(eager) == layer.saved(p) - layer.saved_core(p)
    assert layer.saved_core(eager) == 2 * 4 * 7 * 11 * 2


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("tp", [2, 4])
def test_heads_of_cross_attention_are_split(tp, fused):
    layer = cross()
    whole = seen(7, source=Fraction(11), fused_attention=fused)
    share = whole._replace(tp=Fraction(tp))
    assert layer.tensor_limits() == (("cross-attention heads", 4),)
    assert tp * done(layer.forward(share)) == done(layer.forward(whole))
    assert tp * done(layer.backward(share)) == done(layer.backward(whole))
    assert tp * layer.local_parameters(tp) == parameters(layer) + (tp - 1) * 32


def test_the_source_may_look_back():
    there, back = cross(source_width=None), SourceAttention(hidden=32, heads=4, head_dim=8)
    p = seen(7, source=Fraction(11))
    turned = seen(11, source=Fraction(7))
    assert done(back.forward(p)) == done(there.forward(turned))
    assert done(back.backward(p)) == done(there.backward(turned))
    assert back.saved(p) == there.saved(turned)
    assert back.after(p) == p


def test_a_probe_pools_a_sequence():
    layer, p = AttentionPooling(hidden=32, heads=4, head_dim=8), seen(49)
    assert parameters(layer) == 4 * 32 * 32 + 4 * 32 + 32
    assert layer.after(p).queries == 1
    assert done(layer.forward(p)) == 2 * (2 * 32 * 32 * (2 + 2 * 49) + 4 * 49 * 32)


def window(**changes):
    return WindowAttention(**({"hidden": 32, "heads": 4, "kv_heads": 4, "head_dim": 8, "side": 7} | changes))


def test_windows_are_padded_and_computed():
    inner = EncoderAttention(hidden=32, heads=4, kv_heads=4, head_dim=8)
    four = done(inner.forward(seen(49, sequences=8)))  # an image of 10 × 8 fills four windows in part
    assert done(window().forward(seen(10, 8))) == four
    assert window().saved(seen(10, 8)) == inner.saved(seen(49, sequences=8))
    assert done(window(side=None).forward(seen(10, 8))) == done(inner.forward(seen(80)))
    small = window(shrinks=True).forward(seen(5, 8))
    assert done(small) == done(inner.forward(seen(25, sequences=4)))


def test_windows_learn_where_a_key_stands():
    plain = parameters(window())
    assert parameters(window(relative="pairs")) == plain + 13 * 13 * 4
    assert parameters(window(relative="axes")) == plain + 2 * 13 * 8
    assert parameters(window(relative="axes", side=None, table_grid=(4, 6))) == plain + (7 + 11) * 8
    p = seen(14, 14)
    extra = done(window(relative="axes").forward(p)) - done(window().forward(p))
    assert extra == 2 * 2 * 196 * 4 * (7 + 7) * 8
    eager = p._replace(fused_attention=False)
    both = window(relative="axes")
    assert done(both.backward(eager)) == 2 * done(both.forward(eager))


# --- masks and likeness -------------------------------------------------------------------------------------------


def test_masks_are_products_with_every_pixel():
    p = seen(7, source=Fraction(16))._replace(extent=(Fraction(4), Fraction(4)))
    image = SourceStream().after(p)
    assert image.queries == 16
    layer = MaskProduct(masks=4, width=8)
    assert done(layer.forward(image)) == 2 * 2 * 4 * 8 * 16
    assert done(layer.backward(image)) == 2 * done(layer.forward(image))
    waves = WavePositions(waves=5, points=2)
    assert parameters(waves) == 10
    assert done(waves.forward(p)) == done(waves.backward(p)) == 2 * (16 + 2 * 2) * 2 * 5


def test_every_text_meets_every_image():
    layer, p = Similarity(width=8, bias=True), seen(sequences=6)
    assert parameters(layer) == 2
    (leaf,) = leaves(layer.forward(p))
    assert isinstance(leaf, Matmul)
    assert flops(leaf) == 2 * 6 * 6 * 8
    assert done(layer.backward(p)) == 2 * flops(leaf)
    assert layer.saved(p) == 2 * 6 * 8 * 2
