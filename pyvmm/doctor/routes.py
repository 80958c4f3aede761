# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI functions beneath the network routes that the host, or who works on it, needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from pyvmm.vfio.host import sysfs

from .ancestry import functions_above
from .mounts import mounts
from .needs import Need

_RTF_UP = 0x0001
_RTF_REJECT = 0x0200
_REMOTE_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "9p"})

Legs = tuple[frozenset[str], ...]


class Route(NamedTuple):
    """An entry of the main routing table."""

    interface: str
    version: int
    """4 or 6."""
    network: int
    prefix: int
    """Of how many bits the network's address consists; 0 is a default route."""
    metric: int


def network_needs(
    *, root: str | os.PathLike[str] = "/", environ: Mapping[str, str] = os.environ
) -> list[Need]:
    """The default routes, of IPv4 and of IPv6; the ways to an SSH client and to file servers."""
    host = os.fspath(root)
    table = routes(root=host)
    needs = []
    for version in (4, 6):
        defaults = [r.interface for r in table if r.version == version and r.prefix == 0]
        needs.append(_need("carries the only network route", defaults, table, host))
    client = ssh_client(root=host, environ=environ)
    if client:
        needs.append(_need("carries this SSH session", towards(client, table), table, host))
    for server, point in _file_servers(host):
        what = f"carries the file system that is mounted at {point}"
        needs.append(_need(what, towards(server, table), table, host))
    return [need for need in needs if need.legs]


def routes(*, root: str | os.PathLike[str] = "/") -> tuple[Route, ...]:
    """The main routing tables of IPv4 and IPv6, without routes that reject."""
    net = os.path.join(os.fspath(root), "proc/net")
    ipv4 = (sysfs.read_text(os.path.join(net, "route")) or "").splitlines()[1:]
    ipv6 = (sysfs.read_text(os.path.join(net, "ipv6_route")) or "").splitlines()
    return (*_parsed(_ipv4, ipv4), *_parsed(_ipv6, ipv6))


def towards(address: str, table: Iterable[Route]) -> list[str]:
    """The interface by which an IP address is reached; none if it isn't, or it is no address."""
    import ipaddress

    plain, _, zone = address.partition("%")
    if zone:
        return [zone]
    try:
        ip = ipaddress.ip_address(plain)
    except ValueError:
        return []
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    bits = ip.max_prefixlen
    fitting = [
        route
        for route in table
        if route.version == ip.version
        and int(ip) >> (bits - route.prefix) == route.network >> (bits - route.prefix)
    ]
    if not fitting:
        return []
    return [min(fitting, key=lambda route: (-route.prefix, route.metric)).interface]


def ssh_client(
    *, root: str | os.PathLike[str] = "/", environ: Mapping[str, str] = os.environ
) -> str:
    """The address of the client of the SSH session that we run in; "" if there is none.

    sudo takes the variable away, but not from the processes that it was started from.
    """
    if environ.get("SSH_CONNECTION"):
        return environ["SSH_CONNECTION"].split()[0]
    proc = os.path.join(os.fspath(root), "proc")
    pid, seen = str(os.getppid()), set()
    while pid not in seen and pid != "0":
        seen.add(pid)
        data = sysfs.read_bytes(os.path.join(proc, pid, "environ")) or b""
        for variable in data.split(b"\0"):
            if variable.startswith(b"SSH_CONNECTION="):
                words = variable.partition(b"=")[2].decode(errors="replace").split()
                return words[0] if words else ""
        # comm, in parentheses, may hold anything; the parent is the second field after it.
        fields = (sysfs.read_text(os.path.join(proc, pid, "stat")) or "").rpartition(")")[2].split()
        pid = fields[1] if len(fields) > 1 else "0"
    return ""


def _need(what: str, interfaces: list[str], table: Iterable[Route], root: str) -> Need:
    legs: Legs = ()
    for interface in interfaces:
        beneath = _legs(interface, root, frozenset())
        if not any(beneath):
            # A tunnel: which interface its packets leave by, only its driver knows.
            others = {route.interface for route in table} - {interface, "lo"}
            every = (leg for other in others for leg in _legs(other, root, frozenset()))
            beneath = (frozenset().union(*every),)
        legs += beneath
    names = ", ".join(dict.fromkeys(interfaces))
    return Need(f"{what} ({names})", tuple(dict.fromkeys(leg for leg in legs if leg)))


def _legs(interface: str, root: str, above: frozenset[str]) -> Legs:
    """What an interface hangs on; a bond has a leg for each interface that it is made of."""
    if interface in above:
        return ()
    path = os.path.join(root, "sys/class/net", interface)
    functions = functions_above(path, root=root)
    if functions:
        return (functions,)
    lower = [name[6:] for name in sysfs.listing(path) if name.startswith("lower_")]
    legs = tuple(leg for name in lower for leg in _legs(name, root, above | {interface}))
    if os.path.isdir(os.path.join(path, "bonding")):
        return legs
    return (frozenset().union(*legs),) if legs else ()


def _file_servers(root: str) -> Iterator[tuple[str, str]]:
    """(address, mount point) of each file system that comes over the network."""
    found = {}
    for table in mounts(root=root):
        for mount in table:
            address = mount.option("addr")
            if mount.kind in _REMOTE_FILE_SYSTEMS and address:
                found[mount.point] = address
    for point, address in found.items():
        yield address, point


def _parsed(parse: Callable[[list[str]], Route | None], lines: list[str]) -> Iterator[Route]:
    """The routes of a table's lines; not those of lines that no kernel writes."""
    for line in lines:
        with suppress(ValueError):
            route = parse(line.split())
            if route is not None:
                yield route


def _ipv4(fields: list[str]) -> Route | None:
    interface, network, _, flags, _, _, metric, mask, *_ = fields
    if not _leads_somewhere(flags):
        return None
    prefix = int(mask, 16).bit_count()
    return Route(interface, 4, _network_order(network), prefix, int(metric))


def _ipv6(fields: list[str]) -> Route | None:
    network, prefix, _, _, _, metric, _, _, flags, interface = fields
    if not _leads_somewhere(flags) or interface == "lo":
        return None
    return Route(interface, 6, int(network, 16), int(prefix, 16), int(metric, 16))


def _leads_somewhere(flags: str) -> bool:
    return int(flags, 16) & (_RTF_UP | _RTF_REJECT) == _RTF_UP


def _network_order(text: str) -> int:
    """The kernel prints an address's four bytes as if they were one of the CPU's words."""
    return int.from_bytes(int(text, 16).to_bytes(4, sys.byteorder), "big")
