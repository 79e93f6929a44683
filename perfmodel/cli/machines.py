"""Options that say on what it runs, and what software makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

import perfmodel as pm
from perfmodel.cli.options import Options
from perfmodel.efficiency import load_fits
from perfmodel.errors import InputError

__all__ = ["Fits", "Machine"]


@dataclass(frozen=True, kw_only=True)
class Machine(Options):
    """A system or a device, and how many."""

    cluster: Annotated[str | None, typer.Option(help="Name of a system, such as dgx-h100.")] = None
    device: Annotated[str | None, typer.Option(help="Name of a device, instead of a system.")] = None
    devices: Annotated[int, typer.Option(help="How many devices.")] = 8
    storage: Annotated[
        str | None, typer.Option(help='Storage bandwidth of one device, such as "3 GB/s".')
    ] = None

    def found(self) -> pm.Cluster:
        """The machine.

        Raises
        ------
        InputError
            neither or both of system and device are named
        """
        if (self.cluster is None) == (self.device is None):
            raise InputError(
                "give either --cluster (such as dgx-h100) or --device (such as nvidia-h100-sxm-80gb)"
            )
        if self.cluster:
            found = pm.Cluster.load(self.cluster, devices=self.devices)
        else:
            found = pm.Cluster.of(str(self.device), self.devices)
        return found if self.storage is None else found.replace(storage=self.storage)


@dataclass(frozen=True, kw_only=True)
class Fits(Options):
    """Constants of software, and of its operators."""

    software: Annotated[
        str | None,
        typer.Option(
            help="The training stack (nemo, torchtitan, …) or the engine (vllm, sglang, …); else what is typical."
        ),
    ] = None
    efficiency: Annotated[
        str | None, typer.Option(help="Name or path of an efficiency set, or a file that calibrate wrote.")
    ] = None

    def chosen(self) -> pm.Efficiency | pm.Software | None:
        """The fits that are named, if any."""
        return load_fits(self.efficiency) if self.efficiency else None
