"""The answer to a search: the best layouts, and what became of all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from perfmodel.errors import InputError, MissingExtraError
from perfmodel.estimation import fits_in_force
from perfmodel.exploration.keepers import Front, Keeper, Kept
from perfmodel.exploration.metrics import Metric, metric, metrics_of
from perfmodel.exploration.plan import Inputs
from perfmodel.exploration.printed import cell, lined, tabled, told
from perfmodel.exploration.running import Executor, Progress, Run, answered
from perfmodel.exploration.scoring import Job, Part, Scores
from perfmodel.parallel import Parallel
from perfmodel.units import show

if TYPE_CHECKING:
    import pandas

    from perfmodel.estimation import Answer

__all__ = ["Found", "Search", "Way", "gone_through"]

SHOWN = 20
"""Rows that are printed [-]."""
DEAR = 1e3
"""From here on prices are printed in whole dollars [USD]."""
HEADLINE = (
    "step_time", "ttft", "tpot", "latency", "tokens_per_second_per_device", "samples_per_second_per_device",
    "output_tokens_per_second_per_device", "mfu", "memory.total",
)  # fmt: skip
"""Results that are printed, where there are such."""
SAME = ("tokens_per_second_per_device", "samples_per_second_per_device")
"""Of these the first that there is says enough."""


class Way(NamedTuple):
    """How a search is gone through.

    Parameters
    ----------
    executor, retries, progress, cancel : as of `search`
    """

    executor: Executor | None = None
    retries: int = 2
    progress: Progress = None
    cancel: Callable[[], bool] | None = None


def gone_through(job: Job, keeper: Keeper, way: Way) -> tuple[Scores, bool]:
    """Answer all structures of a search, each with the best rows so far in mind.

    Parameters
    ----------
    job : the search
    keeper : takes in what is found
    way : how

    Returns
    -------
    what became of all candidates, and whether it was ended early
    """
    structures = list(job.space.structures())
    parts = (Part(job, number, structure, keeper) for number, structure in enumerate(structures))
    run = Run(None, way.executor, way.retries, way.progress, way.cancel)
    scores, done = Scores(), 0
    try:
        for _, part in answered(parts, run, len(structures) * job.space.size):
            scores.add(part)
            keeper.add(part.kept)
            done += 1
    except KeyboardInterrupt:
        pass
    scores.kept = keeper.kept
    return scores, done < len(structures)


class Found(Mapping[str, Any]):
    """A layout that was found: its fields and results by name.

    Parameters
    ----------
    job : the search that found it
    row : fields and results
    """

    def __init__(self, job: Job, row: Mapping[str, Any]) -> None:
        self._job, self._row = job, row

    def __getitem__(self, name: str) -> Any:
        return self._row[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    @property
    def layout(self) -> Parallel:
        """The layout, dp set."""
        return self.inputs.layout

    @property
    def inputs(self) -> Inputs:
        """Model, workload, layout, cluster and efficiency."""
        space, job = self._job.space, self._job
        work, layout = space.specs({name: self._row[name] for name in space.structure})
        degrees = {name: self._row[name] for name in ("tp", "pp", "cp", "ep", "dp", "vpp", "micro_batch")}
        cluster = job.cluster.replace(devices=self._row["devices"])
        fits = fits_in_force(cluster, work, job.software, job.efficiency)
        return Inputs(space.model, work, layout.replace(**degrees), cluster, fits)

    def estimate(self) -> Answer:
        """The whole estimate, as `estimate` gives it; its results are those of the row to the last bit."""
        from perfmodel.estimation import estimate

        model, work, layout, cluster, fits = self.inputs
        found: Answer = estimate(model, work, layout, cluster, efficiency=fits)
        return found

    def __repr__(self) -> str:
        return f"Found({', '.join(f'{name} {cell(name, value)}' for name, value in self._row.items())})"


class Search:
    """The best layouts of a search, and what became of the others.

    Parameters
    ----------
    job : what was asked
    objective : what is best
    scores : what became of all candidates
    way : how it was gone through
    partial : it was ended before all candidates were seen
    """

    def __init__(
        self, job: Job, objective: Metric, scores: Scores, *, way: Way | None = None, partial: bool = False
    ) -> None:
        self.job, self.objective, self.scores = job, objective, scores
        self.way, self.partial = Way() if way is None else way, partial

    def __len__(self) -> int:
        return len(self.scores.kept)

    def __getitem__(self, place: int) -> Found:
        return Found(self.job, self.scores.kept[place].row)

    @property
    def best(self) -> Found:
        """The best layout.

        Raises
        ------
        InputError
            there is none; it says why, most frequent first
        """
        if not self.scores.kept:
            raise InputError(
                f"none of {self.considered:,} layouts is left: {'; '.join(told(self.failed)) or 'nothing was seen'}"
            )
        return self[0]

    def top(self, n: int = 10) -> Search:
        """The best layouts, best first.

        Parameters
        ----------
        n : how many of those that were kept, at most [-]
        """
        return self._with(self.scores.kept[:n])

    def _with(self, kept: Any) -> Search:
        scores = Scores(
            self.scores.refused,
            self.scores.lacking,
            self.scores.outside,
            self.scores.beaten,
            self.scores.timed,
            kept,
        )
        return Search(self.job, self.objective, scores, way=self.way, partial=self.partial)

    def pareto(self, x: str, y: str) -> Search:
        """All layouts that no other one beats in both of two results, sorted by the first.

        The search is gone through once more, as any layout may be among them.

        Parameters
        ----------
        x, y : names of results, such as step_time and memory.total
        """
        kind, terms = type(self.job.space.work), self.job.terms
        front = Front(*(metric(name, kind, "result").known(terms) for name in (x, y)))
        scores, partial = gone_through(self.job, front, self.way)
        return Search(self.job, front.metrics[0], scores, way=self.way, partial=partial)

    # --- counts -----------------------------------------------------------------------------------------------------

    @property
    def considered(self) -> int:
        """Candidates: every layout that was refused, does not fit, was beaten or timed [-]."""
        return self.scores.considered

    @property
    def evaluated(self) -> int:
        """Layouts that break no rule: their memory was computed, and if they fit, their time or its least [-]."""
        return self.considered - sum(self.scores.refused.values())

    @property
    def counts(self) -> dict[str, int]:
        """What became of the candidates; each is counted once [-]."""
        scores = self.scores
        return {
            "break a rule": sum(scores.refused.values()),
            "do not fit": sum(scores.lacking.values()),
            "beaten by their least time": scores.beaten,
            "timed, beyond a limit": sum(scores.outside.values()),
            "timed": scores.timed - sum(scores.outside.values()),
        }

    @property
    def failed(self) -> dict[str, int]:
        """Why layouts are not feasible, with how many each; most frequent first [-]."""
        scores = self.scores
        every = scores.refused + scores.lacking + scores.outside
        return dict(every.most_common())

    # --- as a table -------------------------------------------------------------------------------------------------

    @property
    def varied(self) -> list[str]:
        """Fields in which candidates differ."""
        space = self.job.space
        degrees = [
            name for name in ("tp", "pp", "cp", "ep", "dp", "vpp", "micro_batch") if self._varies(name)
        ]
        devices = ["devices"] if len(space.devices) > 1 else []
        return [*devices, *degrees, *(name for name, values in space.structure.items() if len(values) > 1)]

    def _varies(self, name: str) -> bool:
        given = self.job.space.numbers.get(name)
        if name == "ep" and given is None:
            return len(self.job.space.expert_degrees()) > 1
        return given is None or len(given) > 1

    @property
    def headline(self) -> list[str]:
        """Columns that are printed."""
        row = self.scores.kept[0].row if self.scores.kept else {}
        results = [name for name in HEADLINE if name in row]
        if all(name in results for name in SAME):
            results.remove(SAME[1])
        aim = (
            [self.objective.name] if self.objective.name in row and self.objective.name not in results else []
        )
        return [*self.varied, *aim, *results]

    def to_frame(self) -> pandas.DataFrame:
        """The rows that were kept, best first.

        Raises
        ------
        MissingExtraError
            pandas is not installed
        """
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "frame") from None
        return pandas.DataFrame([dict(one.row) for one in self.scores.kept])

    def to_dict(self) -> dict[str, Any]:
        """Counts, reasons and rows, ready for JSON."""
        return {
            "objective": self.objective.name,
            "considered": self.considered,
            "evaluated": self.evaluated,
            "partial": self.partial,
            "counts": self.counts,
            "failed": self.failed,
            "best": [_ready(one) for one in self.scores.kept],
        }

    def _title(self) -> str:
        cut = ", ended early" if self.partial else ""
        parts = ", ".join(f"{count:,} {what}" for what, count in self.counts.items() if count)
        return f"{self.considered:,} layouts{cut}: {parts}"

    def _cells(self) -> list[list[str]]:
        units = {name: one.unit for name, one in metrics_of(type(self.job.space.work)).items()}
        return [
            [_printed(name, one.row[name], units) for name in self.headline]
            for one in self.scores.kept[:SHOWN]
        ]

    def _shown(self) -> str:
        more = len(self) - SHOWN
        return f"best by {self.objective.name}" + (f", {more:,} more" if more > 0 else "")

    def __repr__(self) -> str:
        lines = [self._title()]
        if self.scores.kept:
            lines += [f"{self._shown()}:", *lined([self.headline, *self._cells()])]
        failed = told(self.failed)
        return "\n".join([*lines, *(["not feasible:"] if failed else []), *(f"  {line}" for line in failed)])

    def _repr_html_(self) -> str:
        failed = "".join(f"<li>{escape(line)}</li>" for line in told(self.failed))
        return f"<p>{escape(self._title())}</p>{tabled(self._shown(), self.headline, self._cells())}" + (
            f"<p>not feasible:</p><ul>{failed}</ul>" if failed else ""
        )


def _printed(name: str, value: Any, units: Mapping[str, Any]) -> str:
    if units.get(name) in ("s", "B"):
        return show(value, units[name])
    if units.get(name) == "USD":
        return f"{value:,.{0 if value >= DEAR else 4}f}"
    return cell(name, value)


def _ready(kept: Kept) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.row.items()}
