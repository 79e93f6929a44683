"""How a model is spread over devices: the degrees, and what they are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Self

from perfmodel.errors import Faults
from perfmodel.parallel.breach import Breach, sentences
from perfmodel.parallel.degrees import Degrees
from perfmodel.parallel.rules import RULES, SERVING_RULES, devices_multiply

if TYPE_CHECKING:
    from perfmodel.model import Model
    from perfmodel.workload import Served, Training

__all__ = ["Parallel"]


class Parallel(Degrees):
    """Degrees of parallelism and what goes with them.

    Examples
    --------
    >>> Parallel(tp=8, pp=4, vpp=5).replica
    32
    """

    def on(self, devices: int) -> Self:
        """The layout on so many devices: dp follows.

        Parameters
        ----------
        devices : of the cluster [-]

        Returns
        -------
        the layout with dp set

        Raises
        ------
        InputError
            the degrees do not multiply to the devices
        """
        _raise(devices_multiply(self, devices))
        return self.replace(dp=devices // self.replica) if self.dp is None else self

    def breaches(self, model: Model, work: Training | Served) -> Iterator[Breach]:
        """How each rule of a valid layout stands; where degrees are columns, for each of their rows.

        Parameters
        ----------
        model, work : what is split

        Yields
        ------
        one entry for each way to break a rule, broken or not
        """
        rules: tuple[Callable[..., Iterator[Breach]], ...] = RULES
        if hasattr(work, "output_length"):
            rules = SERVING_RULES
        for rule in rules:
            yield from rule(self, model, work)

    def check(self, model: Model, work: Training | Served) -> None:
        """Refuse a layout that the model or the batch cannot be split by, all broken rules at once.

        Parameters
        ----------
        model, work : what is split

        Raises
        ------
        InputError
            one sentence a broken rule: the numbers, the valid choices, the nearest one
        """
        _raise(self.breaches(model, work))


def _raise(breaches: Iterable[Breach]) -> None:
    """Tell everything that is broken in one error."""
    faults = Faults("Parallel")
    for sentence in sentences(breaches):
        faults.add(sentence)
    faults.raise_if_any()
