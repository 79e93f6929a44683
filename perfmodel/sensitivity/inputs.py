"""What an estimate was made of, in a form that can be changed and estimated again."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.efficiency import Efficiency, Engine, Software
from perfmodel.errors import InputError, UnknownNameError
from perfmodel.estimation import estimate
from perfmodel.hardware import Cluster
from perfmodel.model import Model
from perfmodel.parallel import Parallel
from perfmodel.workload import Training

__all__ = ["Inputs"]


class Inputs(NamedTuple):
    """Everything that `estimate` is given.

    Parameters
    ----------
    model, work, layout, cluster, efficiency : as in `estimate`, dp filled in

    Examples
    --------
    >>> est = estimate(Model.load("llama-3.1-8b"), Training(global_batch=128, sequence_length=8192), Parallel(tp=2),
    ...                Cluster.load("dgx-h100"))
    >>> Inputs.of(est).estimate().step_time == est.step_time
    True
    """

    model: Model
    work: Any
    layout: Parallel
    cluster: Cluster
    efficiency: Efficiency

    @classmethod
    def of(cls, est: Any) -> Inputs:
        """The inputs of an estimate of any kind."""
        return cls(est.model, est.work, est.layout, est.cluster, est.efficiency)

    def estimate(self) -> Any:
        """The estimate of these inputs."""
        return estimate(self.model, self.work, self.layout, self.cluster, efficiency=self.efficiency)

    @property
    def trains(self) -> bool:
        """The job is a training step, run by a training stack; else an inference engine serves it."""
        return isinstance(self.work, Training)

    def _usual(self, cluster: Cluster, software: str | None) -> Efficiency:
        """The fits that `estimate` takes for a device under a stack or an engine."""
        device = cluster.device
        if self.trains or software is None:
            return Efficiency.of(device.architecture, software, device=device.id)
        return Efficiency.serving(device.architecture, software, device=device.id)

    @property
    def follows_architecture(self) -> bool:
        """The fits are those that `estimate` takes for this device and software, and would take anew for another."""
        try:
            usual = self._usual(self.cluster, self.efficiency.software or None)
        except UnknownNameError:  # a set of one's own that lies nowhere in particular
            return False
        return usual is self.efficiency or usual == self.efficiency

    def on(self, cluster: Cluster) -> Inputs:
        """The same on another cluster; fits that follow from the architecture are those of the new one.

        Parameters
        ----------
        cluster : the other one
        """
        devices = {(one.device.architecture, one.device.id) for one in (self.cluster, cluster)}
        if len(devices) == 1 or not self.follows_architecture:
            return self._replace(cluster=cluster)
        fits = self._usual(cluster, self.efficiency.software or None)
        return self._replace(cluster=cluster, efficiency=fits)

    def under(self, software: str) -> Inputs:
        """The same under another training stack, or another inference engine.

        Parameters
        ----------
        software : see `software()` and `engines()`

        Raises
        ------
        InputError
            the fits are a set of one's own under another stack, whose constants can't be taken out again
        """
        found = (Software if self.trains else Engine).known(software)
        if self.follows_architecture:
            return self._replace(efficiency=self._usual(self.cluster, found.id))
        if self.efficiency.software:
            raise InputError(
                f"software = {software!r}: the efficiency set {self.efficiency.id} is under "
                f"{self.efficiency.software} already; give efficiency= with it, the set without a stack"
            )
        return self._replace(efficiency=self.efficiency.under(found, self.cluster.device.architecture))
