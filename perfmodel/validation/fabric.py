"""Bandwidth between nodes, read from the free text that describes a measured row's network."""

from __future__ import annotations

import re

__all__ = ["port_speed", "stated_bandwidth", "without_bridges"]

PORTS = {"EDR": 100, "HDR": 200, "NDR": 400, "XDR": 800, "OMNI-PATH": 100, "OMNIPATH": 100, "FDR": 56}
"""Speed of one port by the generation's name: InfiniBand Trade Association, infinibandta.org/infiniband-roadmap
(4 lanes); Omni-Path 100 series [Gbit/s]."""
LINE_RATES = (10, 25, 40, 50, 56, 100, 200, 400, 800)
"""Ports come in these, so that "200GB/Sec" of an adapter is a slip for bits [Gbit/s]."""

APART = re.compile(r"storage|management|\bmgmt|for NS\b|north-south|\bOOB\b", re.IGNORECASE)
"""Adapters that no messages of the job pass."""
WITHIN = re.compile(
    r"nvlink|nvswitch|pci-?e(?!\S*-nic)|xgmi|infinity|\bici\b|neuronlink|hccs|\bupi\b", re.IGNORECASE
)
"""Links within a node."""
COUNT = re.compile(r"(?<![\w.])(\d+)\s*[x×]\s*(?=\S)", re.IGNORECASE)
SPEED = re.compile(r"(?<![\w./-])(\d+(?:\.\d+)?)\s*([TG])(Bytes?|B|bits?|b)?(?:/s(?:ec)?|ps|E)?\b")
ADAPTER = re.compile(
    r"connectx|\bIB\b|infiniband|ethernet|GbE|\bNIC\b|bluefield|roce|mellanox", re.IGNORECASE
)
PER_DEVICE = re.compile(r"(?:per|/|each|a) ?(?:GPU|device|chip|accelerator|card)", re.IGNORECASE)
PER_NODE = re.compile(r"per (?:node|instance|host|server|VM)|for EW\b|\bEFA(?:v\d)?\b", re.IGNORECASE)
ETHERNET = re.compile(r"ethernet|GbE\b", re.IGNORECASE)


def stated_bandwidth(network: str, devices_per_node: int) -> float | None:
    """Scale-out bandwidth of one device, where the row's free text states it.

    Parameters
    ----------
    network : the row's description of its fabric
    devices_per_node : that share the node's adapters [-]

    Returns
    -------
    one direction, per device, or None where nothing is stated [B/s]

    Notes
    -----
    Adapters for storage and management do not count; of several kinds that are left, the fastest together do. Ethernet
    without a number of adapters is one of them.

    Examples
    --------
    >>> stated_bandwidth("NVLink3 intra-node; 4x100 Gb/s Omni-Path per node", 8)
    6250000000.0
    >>> stated_bandwidth("BF3 200Gbps for NS and 2xBF3 400Gbps for EW", 4)
    25000000000.0
    >>> stated_bandwidth("Storage: 2x IB HDR 200Gb/s; Compute: 8x ConnectX-6 IB HDR", 8)
    25000000000.0
    >>> stated_bandwidth("EFA 3.2 Tb/s per node", 8), stated_bandwidth("100 GbE", 4)
    (50000000000.0, 3125000000.0)
    >>> stated_bandwidth("NVLink4 single node", 8) is None
    True
    """
    found = [
        bits * 1e9 / 8 / (1 if one else devices_per_node)
        for bits, one in map(_adapters, _pieces(network))
        if bits
    ]
    return max(found, default=None)


def port_speed(network: str) -> float | None:
    """Bandwidth of one port of the fabric that the text names, where it tells no number of ports.

    Parameters
    ----------
    network : the row's description of its fabric

    Returns
    -------
    one direction, or None where no generation is named [B/s]

    Examples
    --------
    >>> port_speed("NVSwitch; InfiniBand HDR between nodes"), port_speed("IB 400 Gb/s"), port_speed("RoCE")
    (25000000000.0, 50000000000.0, None)
    """
    speeds = [_gigabits(piece) for piece in _pieces(network) if ADAPTER.search(piece) or _generation(piece)]
    return max((bits * 1e9 / 8 for bits in speeds if bits), default=None)


def without_bridges(network: str) -> bool:
    """Whether cards talk through the host's bus alone: the text says so, or names the bus and no other link.

    Examples
    --------
    >>> without_bridges("PCIe Gen4 only"), without_bridges("no NVLink"), without_bridges("NVLink bridge; PCIe Gen4")
    (True, True, False)
    """
    if re.search(r"(no|without) (nv-?link|bridge)", network, re.IGNORECASE):
        return True
    return bool(re.search(r"pci-?e", network, re.IGNORECASE)) and not re.search(
        r"nv-?link|bridge|xgmi|infinity|neuronlink", network, re.IGNORECASE
    )


def _pieces(network: str) -> list[str]:
    """Parts of the text about adapters between nodes."""
    pieces = re.split(r"[;,+]| and ", network)
    return [piece for piece in pieces if not APART.search(piece) and not WITHIN.search(piece)]


def _adapters(piece: str) -> tuple[float, bool]:
    """Speed of all adapters that a piece of the text counts, and whether that is of one device [Gbit/s]."""
    bits, count = _gigabits(piece), COUNT.search(piece)
    one = bool(PER_DEVICE.search(piece))
    if not bits:
        return 0, False
    if count is not None:
        return int(count[1]) * bits, one
    if one or PER_NODE.search(piece) or (ETHERNET.search(piece) and count is None):
        return bits, one
    return 0, False


def _gigabits(piece: str) -> float:
    """Speed of one adapter, or of what the piece speaks of; 0 where it tells none [Gbit/s]."""
    told = SPEED.search(COUNT.sub(" ", piece, count=1))
    if told is None:
        return _generation(piece)
    value = float(told[1]) * (1e3 if told[2] == "T" else 1)
    in_bytes = (told[3] or "").startswith("B")
    slip = bool(ADAPTER.search(piece)) and value in LINE_RATES and value != 50
    return value * 8 if in_bytes and not slip else value


def _generation(piece: str) -> float:
    """Speed of a port by its generation's name: HDR, and of half a one HDR100; 0 where none is named [Gbit/s]."""
    for name, speed in PORTS.items():
        if told := re.search(rf"\b{name}(\d{{2,3}})?\b", piece, re.IGNORECASE):
            return float(told[1] or speed)
    return 0
