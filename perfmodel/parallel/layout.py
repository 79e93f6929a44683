"""How a model is spread over devices: the degrees, and what they are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

from perfmodel.errors import Faults
from perfmodel.parallel.degrees import Degrees
from perfmodel.parallel.rules import RULES, SERVING_RULES

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
        faults = Faults("Parallel")
        if devices % self.replica:
            near = max(devices // self.replica, 1) * self.replica
            faults.add(
                f"tp · pp · cp = {self.tp} · {self.pp} · {self.cp} = {self.replica} does not divide {devices} devices; "
                f"nearest: {near} devices"
            )
        elif self.dp is not None and self.dp != devices // self.replica:
            faults.add(
                f"tp · pp · cp · dp = {self.replica} · {self.dp} = {self.replica * self.dp}, but the cluster has "
                f"{devices} devices; dp = {devices // self.replica} fits, or leave dp out and it follows"
            )
        faults.raise_if_any()
        return self.replace(dp=devices // self.replica) if self.dp is None else self

    def broken(self, model: Model, work: Training | Served) -> Iterator[str]:
        """A sentence for each broken rule.

        Parameters
        ----------
        model, work : what is split

        Yields
        ------
        the rule, the numbers, the valid choices, the nearest one
        """
        rules: tuple[Callable[..., Iterator[str]], ...] = RULES
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
        faults = Faults("Parallel")
        for sentence in self.broken(model, work):
            faults.add(sentence)
        faults.raise_if_any()
