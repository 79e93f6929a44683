"""Figures: they draw where they are told, show what the estimate says, and leave matplotlib as they found it."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import perfmodel as pm
from perfmodel import plot
from perfmodel.errors import InputError, MissingExtraError, UnknownNameError
from perfmodel.plot.columns import parts_of

MODEL = pm.decoder(
    name="tiny-7b", layers=32, hidden=4096, heads=32, kv_heads=8, inner=14336, vocabulary=128256
)
WORK = pm.Training(global_batch=64, sequence_length=8192)


def estimate(devices: int = 8, work: pm.Training = WORK, **layout) -> pm.TrainingEstimate:
    cluster = pm.Cluster.load("dgx-h100", devices=devices)
    return pm.estimate(MODEL, work, pm.Parallel(**layout), cluster)


@pytest.fixture(scope="module")
def several() -> dict[str, pm.TrainingEstimate]:
    return {
        "tp 8": estimate(tp=8, sequence_parallel=True),
        "pp 4": estimate(16, tp=2, pp=4, vpp=2),
        "alone": estimate(8, WORK.replace(recompute="full")),
        "sharded": estimate(16, tp=4, sharding="zero3"),
    }


@pytest.fixture
def ax():
    return Figure(figsize=(9, 4)).subplots()


FIGURES = [plot.breakdown, plot.memory]


def texts(ax) -> str:
    return "\n".join(text.get_text() for text in ax.texts)


# --- what the figures show ----------------------------------------------------------------------------------------


def test_points_of_the_roofline_add_up_to_the_estimate(several):
    for est in several.values():
        points = plot.roofline_points(est)
        for kind in ("matmul", "attention"):
            spent = sum(s for s, k in zip(points["seconds"], points["kind"], strict=True) if k == kind)
            assert spent == pytest.approx(est.terms[kind])
        assert points["share"] == sorted(points["share"], reverse=True)
        assert np.allclose(np.array(points["share"]) * est.step_time, points["seconds"])


def test_points_lie_under_the_roof(several):
    for est in several.values():
        device, points = est.cluster.device, plot.roofline_points(est)
        intensity, rate = np.array(points["intensity"]), np.array(points["flops_per_second"])
        assert (rate < device.peak.bf16).all()
        assert (rate < intensity * device.memory_bandwidth).all()


def test_a_point_worked_by_hand():
    """Up-projection of one sequence over two tensor ranks: 8192 x 14336 x 4096, gate and up in one product."""
    points = plot.roofline_points(estimate(tp=2, sequence_parallel=True))
    place = points["name"].index("mlp up")
    m, n, k = 8192, 14336, 4096
    assert points["intensity"][place] == pytest.approx(2 * m * n * k / (2 * (m * k + k * n + m * n)))


def test_recomputed_kernels_count_in_their_point(several):
    plain = plot.roofline_points(estimate(8, WORK))
    full = plot.roofline_points(several["alone"])
    place, again = plain["name"].index("mlp up"), full["name"].index("mlp up")
    assert full["seconds"][again] == pytest.approx(2 * plain["seconds"][place])


def test_terms_add_up_to_the_step(several):
    columns = plot.breakdown_columns(several)
    assert columns["name"] == list(several)
    sums = np.sum(list(parts_of(columns).values()), axis=0)
    assert np.allclose(sums, [est.step_time for est in several.values()])
    assert columns["mfu"] == [est.mfu for est in several.values()]


def test_per_token_is_the_reciprocal_of_throughput(several):
    totals = plot.breakdown_columns(several, per="token")["total"]
    assert np.allclose(totals, [1 / est.tokens_per_second_per_device for est in several.values()])


def test_kinds_add_up_to_the_memory(several):
    columns = plot.memory_columns(several)
    sums = np.sum(list(parts_of(columns).values()), axis=0)
    assert np.allclose(sums, [est.memory.total for est in several.values()])
    assert columns["fits"] == [est.fits for est in several.values()]
    assert set(columns["capacity"]) == {80 * 2**30}


def test_one_estimate_is_one_row_named_after_its_model(several):
    est = several["tp 8"]
    for columns in (plot.breakdown_columns(est), plot.memory_columns(est)):
        assert columns["name"] == ["tiny-7b"]
        assert {len(column) for column in columns.values()} == {1}


def test_every_term_and_kind_has_its_colour(several):
    terms, kinds = parts_of(plot.breakdown_columns(several)), parts_of(plot.memory_columns(several))
    assert set(terms) <= set(plot.TERM_COLOURS)
    assert set(kinds) <= set(plot.KIND_COLOURS)
    for colours in (plot.TERM_COLOURS, plot.KIND_COLOURS):
        assert len(set(colours.values())) == len(colours)


# --- the figures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", FIGURES)
def test_bars_are_drawn_on_the_axes_given(figure, several, ax):
    assert figure(several, ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == list(several)
    assert ax.get_legend() is not None


@pytest.mark.parametrize("figure", FIGURES)
def test_bars_and_their_texts_lie_within_the_axes(figure, several, ax):
    figure(several, ax=ax)
    ax.figure.draw_without_rendering()
    right = ax.get_window_extent().x1
    assert all(text.get_window_extent().x1 <= right for text in ax.texts)
    assert max(patch.get_x() + patch.get_width() for patch in ax.patches) < ax.get_xlim()[1]


def test_roofline_is_drawn_on_the_axes_given(several, ax):
    assert plot.roofline(several["pp 4"], ax=ax) is ax
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "mlp up" in texts(ax)


def test_names_of_points_do_not_overlap(several):
    for est in several.values():
        drawn = plot.roofline(est, ax=Figure(figsize=(9, 5)).subplots())
        drawn.figure.draw_without_rendering()
        boxes = [mpl.text.Text.get_window_extent(text) for text in drawn.texts]
        assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])
        assert all(box.x1 <= drawn.get_window_extent().x1 for box in boxes)


def test_roofline_of_a_device_and_of_its_name(ax):
    device = pm.Device.load("h100")
    assert plot.roofline(device, dtype="fp8", ax=ax).get_title().endswith("fp8")
    assert plot.roofline("h100", ax=Figure().subplots()).get_title().endswith("bf16")
    assert max(ax.lines[0].get_ydata()) == pytest.approx(device.peak.fp8 / 1e12)


def test_the_achieved_roof_is_below_the_datasheet(ax):
    plot.roofline("mi300x", ax=ax)
    datasheet, achieved = (np.asarray(line.get_ydata()) for line in ax.lines[:2])
    assert (achieved < datasheet).all()


def test_what_does_not_fit_is_said_in_words(ax):
    tight = estimate(8, WORK, sharding="none")
    assert not tight.fits
    plot.memory({"tight": tight, "roomy": estimate(8, tp=8, sequence_parallel=True)}, ax=ax)
    over = (tight.memory.total - tight.memory.capacity) / 2**30
    assert f"does NOT fit, {over:.1f} GiB over" in texts(ax)
    assert texts(ax).count("GiB: fits") == 1
    assert "does NOT fit" in texts(plot.breakdown(tight, ax=Figure().subplots()))


def test_the_axis_is_in_a_unit_that_reads_well(several, ax):
    assert "[s]" in plot.breakdown(several, ax=ax).get_xlabel()
    assert "[µs]" in plot.breakdown(several, per="token", ax=Figure().subplots()).get_xlabel()


# --- manners ------------------------------------------------------------------------------------------------------


def test_matplotlib_is_left_as_it_was(several, ax):
    before, figures = dict(mpl.rcParams), pyplot.get_fignums()
    plot.roofline(several["tp 8"], ax=ax)
    for figure in FIGURES:
        figure(several, ax=Figure().subplots())
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == figures


def test_axes_are_made_where_none_are_given(several):
    for figure in (plot.roofline, *FIGURES):
        drawn = figure(several["tp 8"])
        assert drawn.figure.number in pyplot.get_fignums()
        pyplot.close(drawn.figure)


@pytest.mark.parametrize("figure", [plot.roofline, *FIGURES])
def test_without_matplotlib_the_error_says_how_to_get_it(figure, several, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"perfmodel\[plot\]"):
        figure(several["tp 8"])
    assert plot.memory_columns(several)  # the columns need none


def test_matplotlib_is_loaded_late():
    code = "import sys; from perfmodel import plot; plot.memory_columns; print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_what_can_not_be_drawn_is_refused(several):
    with pytest.raises(InputError, match="at least one estimate"):
        plot.breakdown({})
    with pytest.raises(InputError, match="not of Cluster"):
        plot.memory({"a": several["tp 8"].cluster})
    with pytest.raises(UnknownNameError, match="did you mean step"):
        plot.breakdown(several, per="steps")
