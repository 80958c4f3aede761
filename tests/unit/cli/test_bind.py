# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""pyvmm bind and unbind: what they say, and their statuses."""

from __future__ import annotations

import signal
from typing import Any

import pytest

import pyvmm.vfio.host
from pyvmm.cli import exit_codes
from pyvmm.cli.main import main
from pyvmm.doctor import HostUsage, NeededByHost
from pyvmm.vfio.errors import HostDeviceUnavailable
from pyvmm.vfio.host import Change

Capture = pytest.CaptureFixture[str]
NIC, SOUND = "0000:01:00.0", "0000:01:00.1"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the library was asked to do, instead of doing it."""
    calls: list[Any] = []

    def bind(addresses: list[str], **how: Any) -> list[Change]:
        how.pop("allow")(addresses)
        calls.append((addresses, how))
        note = "group 14 is not viable yet"
        return [
            Change(address, before, "vfio-pci", note)  # type: ignore[arg-type]
            for address, before in zip(addresses, ("e1000e", "vfio-pci"), strict=False)
        ]

    def unbind(addresses: list[str], **how: object) -> list[Change]:
        calls.append((addresses, how))
        return [Change(addresses[0], "vfio-pci", None)]  # type: ignore[arg-type]

    monkeypatch.setattr(pyvmm.vfio.host, "bind", bind)
    monkeypatch.setattr(pyvmm.vfio.host, "unbind", unbind)
    return calls


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the host was asked to spare."""
    checked: list[Any] = []
    monkeypatch.setattr(HostUsage, "check", lambda _, taken: checked.append(taken))
    return checked


def test_bind(asked: list[Any], checked: list[Any], capfd: Capture) -> None:
    assert main(["bind", "--group", "--user", "alice", NIC, SOUND]) == 0
    assert asked == [([NIC, SOUND], {"whole_group": True, "user": "alice"})]
    assert checked == [[NIC, SOUND]]
    out, err = capfd.readouterr()
    assert out == f"{NIC}: e1000e -> vfio-pci\n{SOUND}: vfio-pci, as before\n"
    assert err == "pyvmm: group 14 is not viable yet\n"


def test_by_force(asked: list[Any], checked: list[Any], capfd: Capture) -> None:
    assert main(["bind", "--force", NIC]) == 0
    assert len(asked) == 1
    assert checked == []


def test_unbind(asked: list[Any], capfd: Capture) -> None:
    assert main(["unbind", NIC]) == 0
    assert asked == [([NIC], {"whole_group": False})]
    assert capfd.readouterr().out == f"{NIC}: vfio-pci -> no driver\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NeededByHost("it holds the root file system"), exit_codes.NEEDED_BY_HOST),
        (HostDeviceUnavailable("no permission; sudo"), exit_codes.HOST_DEVICE),
    ],
)
def test_refusals(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    def bind(*_: object, **__: object) -> list[Change]:
        raise error

    monkeypatch.setattr(pyvmm.vfio.host, "bind", bind)
    assert main(["bind", NIC]) == status
    assert capfd.readouterr() == ("", f"pyvmm: error: {error}\n")


@pytest.mark.parametrize("command", ["bind", "unbind"])
def test_help_has_an_example(command: str, capfd: Capture) -> None:
    assert main([command, "--help"]) == 0
    assert f"sudo pyvmm {command} " in capfd.readouterr().out
    assert main([command]) == exit_codes.USAGE


@pytest.mark.parametrize("user", ["4294967295", "99999999999999"])
def test_what_is_no_users_id(user: str, asked: list[Any], capfd: Capture) -> None:
    assert main(["bind", "--user", user, NIC]) == exit_codes.USAGE
    assert f"{user}: no user has an ID of more than 4294967294" in capfd.readouterr().err
    assert not asked


@pytest.mark.parametrize("command", ["bind", "unbind"])
def test_a_signal_has_it_undone(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    undone = []

    def change(*_: object, **__: object) -> list[Change]:
        try:
            signal.raise_signal(signal.SIGHUP)
        except BaseException:
            undone.append(True)
            raise
        return []

    monkeypatch.setattr(pyvmm.vfio.host, command, change)
    assert main([command, NIC]) == 128 + signal.SIGHUP
    assert undone
