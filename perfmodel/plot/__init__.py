"""Figures of an estimate: operators under the roofline, where time and memory go, what changes the time.

Every function takes the axes to draw on (`ax`, or it makes its own) and returns them; nothing else of matplotlib's
state is touched. What a figure shows is also there as columns: `roofline_points`, `breakdown_columns`,
`memory_columns`.

>>> import perfmodel as pm
>>> est = pm.estimate(pm.Model.load("llama-3.1-8b"), pm.Training(global_batch=128, sequence_length=8192),
...                   pm.Parallel(tp=2), pm.Cluster.load("dgx-h100", devices=8))
>>> from matplotlib.figure import Figure
>>> ax = Figure().subplots()
>>> breakdown({"tp 2": est}, ax=ax) is ax
True
"""

from perfmodel.plot.bars import breakdown, memory
from perfmodel.plot.canvas import KIND_COLOURS, TERM_COLOURS
from perfmodel.plot.columns import breakdown_columns, memory_columns, roofline_points
from perfmodel.plot.comparison import comparison
from perfmodel.plot.flames import flame, flame_columns
from perfmodel.plot.roofs import roofline
from perfmodel.plot.scatter import errors
from perfmodel.plot.tornado import tornado, tornado_columns

__all__ = [
    "KIND_COLOURS", "TERM_COLOURS", "breakdown", "breakdown_columns", "comparison", "errors", "flame",
    "flame_columns", "memory", "memory_columns", "roofline", "roofline_points", "tornado", "tornado_columns",
]  # fmt: skip
