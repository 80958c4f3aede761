# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The only way to the network, and to who sits at the other end of an SSH session."""

from __future__ import annotations

import os

import pytest

from pyvmm.doctor import HostUsage
from pyvmm.doctor.routes import Route, routes, ssh_client, towards
from pyvmm.vfio.host import HostFunction
from tests.unit.vfio.host.made_host import MadeHost

ONE, TWO = "0000:01:00.0", "0000:02:00.0"
CARRIES = "carries the only network route"


@pytest.fixture
def nics(host: MadeHost) -> tuple[str, str]:
    """The paths of two network cards, eth0 and eth1."""
    paths = tuple(host.function(bdf, driver="e1000e") for bdf in (ONE, TWO))
    for name, path in zip(("eth0", "eth1"), paths, strict=True):
        host.interface(name, path)
    return paths[0], paths[1]


def losses(host: MadeHost, *taken: str, ssh: str = "") -> list[str]:
    environ = {"SSH_CONNECTION": ssh} if ssh else {}
    functions = [HostFunction(bdf, root=host.root) for bdf in taken]
    return [str(loss) for loss in HostUsage(root=host.root, environ=environ).losses(functions)]


def test_the_only_one(host: MadeHost, nics: tuple[str, str]) -> None:
    host.routes(("eth0", "0.0.0.0/0", 100), ("eth0", "192.0.2.0/24", 100))
    assert losses(host, ONE) == [f"{ONE} {CARRIES} (eth0)"]
    assert losses(host, TWO) == []


def test_one_of_two(host: MadeHost, nics: tuple[str, str]) -> None:
    """Either may go, but not both."""
    host.routes(("eth0", "0.0.0.0/0", 100), ("eth1", "0.0.0.0/0", 200))
    assert losses(host, ONE) == losses(host, TWO) == []
    assert losses(host, ONE, TWO) == [
        f"{ONE} {CARRIES} (eth0, eth1)",
        f"{TWO} {CARRIES} (eth0, eth1)",
    ]


def test_a_bond_does_without_one_of_its_interfaces(host: MadeHost, nics: tuple[str, str]) -> None:
    bond = host.interface("bond0", lower=("eth0", "eth1"))
    host.file(f"{bond}/bonding/mode", "active-backup 1")
    host.interface("bond0.5", lower=("bond0",))
    host.routes(("bond0", "0.0.0.0/0", 0))
    assert losses(host, ONE) == losses(host, TWO) == []
    assert len(losses(host, ONE, TWO)) == 2


def test_a_bridge_needs_all_of_its_interfaces(host: MadeHost, nics: tuple[str, str]) -> None:
    """Which of them leads to the router isn't known."""
    host.interface("tap0")
    host.interface("eth1.7", lower=("eth1",))
    host.interface("br0", lower=("eth0", "eth1.7", "tap0"))
    host.routes(("br0", "0.0.0.0/0", 0))
    assert losses(host, ONE) == [f"{ONE} {CARRIES} (br0)"]
    assert losses(host, TWO) == [f"{TWO} {CARRIES} (br0)"]


def test_a_tunnel_leaves_by_some_interface_with_routes(
    host: MadeHost, nics: tuple[str, str]
) -> None:
    host.interface("wg0")
    host.routes(("wg0", "0.0.0.0/0", 0), ("eth1", "192.0.2.0/24", 0))
    assert losses(host, ONE) == []
    assert losses(host, TWO) == [f"{TWO} {CARRIES} (wg0)"]


def test_interfaces_in_a_circle_end(host: MadeHost, nics: tuple[str, str]) -> None:
    one = host.interface("x0")
    host.interface("x1", lower=("x0",))
    host.link(f"{one}/lower_x1", "sys/class/net/x1")
    host.routes(("x0", "0.0.0.0/0", 0))
    assert losses(host, ONE) == []


def test_ipv6(host: MadeHost, nics: tuple[str, str]) -> None:
    zero = "0" * 32
    host.file(
        "proc/net/ipv6_route",
        f"{zero} 00 {zero} 00 fe80{'0' * 27}1 00000400 00000001 00000000 00000003     eth1\n"
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n",
    )
    assert losses(host, ONE) == []
    assert losses(host, TWO) == [f"{TWO} {CARRIES} (eth1)"]


def test_an_ssh_session(host: MadeHost, nics: tuple[str, str]) -> None:
    host.routes(("eth0", "0.0.0.0/0", 0), ("eth1", "198.51.100.0/24", 0))
    ssh = "198.51.100.7 50022 198.51.100.1 22"
    assert losses(host, TWO, ssh=ssh) == [f"{TWO} carries this SSH session (eth1)"]
    assert losses(host, TWO, ssh="203.0.113.9 50022 192.0.2.1 22") == []
    assert losses(host, TWO, ssh="fe80::1%eth1 50022 fe80::2%eth1 22") != []
    assert losses(host, TWO, ssh="nonsense") == []


def test_an_ssh_session_beneath_sudo(host: MadeHost) -> None:
    """sudo's environment lacks the variable; the one of the shell that called it has it."""
    parent = os.getppid()
    host.file(f"proc/{parent}/environ", "PATH=/bin\0TERM=xterm\0")
    host.file(f"proc/{parent}/stat", f"{parent} (su do) (x) S 77 1 1 0")
    host.file("proc/77/environ", "HOME=/\0SSH_CONNECTION=192.0.2.9 1 192.0.2.1 22\0")
    assert ssh_client(root=host.root, environ={}) == "192.0.2.9"
    host.file("proc/77/environ", "HOME=/\0")
    host.file("proc/77/stat", f"77 (bash) S {parent} 1 1 0")
    assert ssh_client(root=host.root, environ={}) == ""


def test_a_file_server(host: MadeHost, nics: tuple[str, str]) -> None:
    host.routes(("eth0", "0.0.0.0/0", 0), ("eth1", "198.51.100.0/24", 0))
    host.mounts(
        "27 1 0:40 / / rw - nfs4 198.51.100.7:/root rw,vers=4.2,addr=198.51.100.7",
        "28 27 0:41 / /proc rw - proc proc rw",
    )
    assert losses(host, TWO) == [f"{TWO} carries the file system that is mounted at / (eth1)"]


def test_lines_that_no_kernel_writes(host: MadeHost) -> None:
    host.routes(("eth0", "0.0.0.0/0", 0))
    table = host.root / "proc/net/route"
    table.write_text(table.read_text() + "\neth1 x\neth1 x x 0003 0 0 0 x\n")
    host.file("proc/net/ipv6_route", "\n00 00\n" + "g " * 10 + "\n")
    assert [route.interface for route in routes(root=host.root)] == ["eth0"]


def test_the_longest_prefix_counts_and_then_the_metric(host: MadeHost) -> None:
    host.routes(
        ("a", "0.0.0.0/0", 5),
        ("b", "0.0.0.0/0", 1),
        ("c", "10.0.0.0/8", 9),
        ("d", "10.1.0.0/16", 9),
        ("e", "10.1.2.3/32", 9),
    )
    table = routes(root=host.root)
    assert table[3] == Route("d", 4, 0x0A010000, 16, 9)
    for address, interface in (
        ("8.8.8.8", "b"),
        ("10.9.9.9", "c"),
        ("10.1.0.1", "d"),
        ("::ffff:10.1.0.1", "d"),
        ("10.1.2.3", "e"),
    ):
        assert towards(address, table) == [interface]
    assert towards("2001:db8::1", table) == []
