# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The lab as a whole, on QEMU: streams, statuses, signals, terminals, devices, the end of it all.

One lab does for all that share it; the command line's tests have their own.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pyvmm.lab.errors import LabEnded, LabError, LabTimeout
from pyvmm.lab.session import Lab
from tests.conftest import missing_for_lab, open_fds

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(bool(missing_for_lab()), reason=missing_for_lab() or "all there"),
    pytest.mark.timeout(400),
]
LIMIT = 60
PYVMM = [sys.executable, "-m", "pyvmm", "lab", "run"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("edu,bridge(nvme+edu)") as lab:
        yield lab


class Ran:
    """A command that has ended, and what it wrote."""

    def __init__(self, lab: Lab, tmp: Path, script: str, stdin: bytes = b"") -> None:
        paths = [tmp / name for name in ("in", "out", "err")]
        paths[0].write_bytes(stdin)
        with paths[0].open("rb") as given, paths[1].open("wb") as out, paths[2].open("wb") as err:
            argv = ["sh", "-c", script]
            self.status = lab.run(argv, stdin=given, stdout=out, stderr=err, timeout=LIMIT)
        self.out, self.err = paths[1].read_bytes(), paths[2].read_bytes()


def test_streams_are_apart_and_binary(lab: Lab, tmp_path: Path) -> None:
    data = os.urandom(200_000) + b"\r\n\x00\x04\x1a"
    ran = Ran(lab, tmp_path, "cat; echo words >&2", data)
    assert ran.out == data
    assert ran.err == b"words\n"
    assert ran.status == 0


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("nosuch", 127)],
)
def test_status(lab: Lab, tmp_path: Path, script: str, status: int) -> None:
    assert Ran(lab, tmp_path, script).status == status


def test_programs_are_the_hosts(lab: Lab, tmp_path: Path) -> None:
    script = "readlink /proc/$$/exe; sort --version"
    ran = Ran(lab, tmp_path, script)
    assert ran.out == subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    assert lab.run(["A=1", "env"], stderr=subprocess.DEVNULL, timeout=LIMIT) == 127
    with pytest.raises(LabError, match="no command"):
        lab.run([])


def test_streams_can_be_opened_again(lab: Lab, tmp_path: Path) -> None:
    ran = Ran(lab, tmp_path, "cat /dev/stdin; echo e >/dev/stderr; echo o >/dev/stdout", b"in\n")
    assert (ran.out, ran.err) == (b"in\no\n", b"e\n")


def test_the_hosts_files_are_there_and_stay_as_they_are(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("the host's\n")
    monkeypatch.chdir(tmp_path)
    ran = Ran(lab, tmp_path, "cat file; echo changed >file; cat file; pwd; id -u")
    assert ran.out.decode() == f"the host's\nchanged\n{tmp_path}\n0\n"
    assert (tmp_path / "file").read_text() == "the host's\n"


def test_environment(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TEST", "a 'b'\nc")
    monkeypatch.setenv("DISPLAY", ":0")
    ran = Ran(lab, tmp_path, 'echo "$LAB_TEST"; echo "<$DISPLAY>"; echo "$PYVMM_LAB_DEVICES"')
    devices = ",".join(f"{kind}={address}" for kind, address in lab.devices)
    assert ran.out.decode() == f"a 'b'\nc\n<>\n{devices}\n"


def test_devices_are_vfios(lab: Lab, tmp_path: Path) -> None:
    script = "\n".join(
        f"basename $(readlink /sys/bus/pci/devices/{address}/driver)" for _, address in lab.devices
    )
    assert Ran(lab, tmp_path, script).out.split() == [b"vfio-pci"] * 3


def test_a_bridge_makes_one_group_of_several(lab: Lab, tmp_path: Path) -> None:
    script = "\n".join(
        f"basename $(readlink /sys/bus/pci/devices/{address}/iommu_group)"
        for _, address in lab.devices
    )
    alone, nvme, edu = Ran(lab, tmp_path, script).out.split()
    assert nvme == edu != alone


def test_modules_of_the_labs_kernel_are_there(lab: Lab, tmp_path: Path) -> None:
    # Not every host has a modprobe of its own.
    script = (
        "B=/run/pyvmm-lab/busybox; "
        '"$B" modprobe nvme && grep -c ^nvme /proc/modules; "$B" rmmod nvme nvme_core'
    )
    ran = Ran(lab, tmp_path, script)
    assert int(ran.out) > 0


def test_plug_and_unplug(lab: Lab, tmp_path: Path) -> None:
    before = lab.devices
    for _ in range(2):
        plugged = lab.plug("nvme")
        (address,) = plugged.addresses
        assert Ran(lab, tmp_path, f"cat /sys/bus/pci/devices/{address}/class").out == b"0x010802\n"
        lab.unplug(plugged)
        assert Ran(lab, tmp_path, f"test -e /sys/bus/pci/devices/{address}").status == 1
    assert lab.devices == before
    with pytest.raises(LabError, match="no bridge left"):
        lab.plug("bridge(edu)")
    with pytest.raises(LabError, match="no device 'nosuchthing'"):
        lab.plug("nosuchthing")


def test_behind_a_bridge_all_or_none(lab: Lab) -> None:
    (behind,) = (plugged for plugged in lab.plugged if len(plugged.addresses) == 2)
    lab.unplug(behind)
    left = lab.devices
    with pytest.raises(LabError, match="no device 'nosuchthing'"):
        lab.plug("bridge(edu+nosuchthing)")
    assert lab.devices == left
    again = lab.plug("bridge(nvme+edu)")
    assert again.addresses == behind.addresses


def test_a_limit_in_time(lab: Lab) -> None:
    with pytest.raises(LabTimeout, match="longer than 1 s"):
        lab.run(["sleep", "1000"], timeout=1)
    assert lab.run(["true"], timeout=LIMIT) == 0


def test_signals_reach_the_command_and_its_children(lab: Lab, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    statuses: list[int] = []
    # The child says that it's up: dash loses a signal that comes just before it waits for a child.
    script = "trap 'echo caught; exit 9' INT; sh -c 'echo up; exec sleep 1000'; sleep 1000"
    thread = threading.Thread(
        target=lambda: statuses.append(
            lab.run(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=writer, timeout=LIMIT)
        )
    )
    thread.start()
    assert os.read(reader, 100) == b"up\n"
    lab.signal(signal.SIGINT)
    thread.join()
    assert statuses == [9]
    assert os.read(reader, 100) == b"caught\n"
    os.close(reader)
    os.close(writer)


def test_a_reader_that_goes_ends_the_command(lab: Lab) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert lab.run(["yes"], stdin=subprocess.DEVNULL, stdout=writer, timeout=LIMIT) == 141
    os.close(writer)


def test_output_that_can_not_be_written_is_an_error(lab: Lab) -> None:
    for command in (["echo", "hi"], ["yes"]):
        with open("/dev/full", "wb") as full, pytest.raises(LabError, match="ENOSPC"):
            lab.run(command, stdin=subprocess.DEVNULL, stdout=full, timeout=LIMIT)


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("descriptor", [999, subprocess.PIPE])
def test_descriptors_that_are_none_are_refused(lab: Lab, stream: str, descriptor: int) -> None:
    with pytest.raises(LabError, match="EBADF"):
        lab.run(["true"], **dict.fromkeys([stream], descriptor))  # type: ignore[arg-type]


def test_a_limit_that_is_never_over(lab: Lab) -> None:
    assert lab.run(["true"], timeout=1e300) == 0


def test_one_command_at_a_time(lab: Lab) -> None:
    given, giver = os.pipe()
    thread = threading.Thread(target=lab.run, args=(["cat"],), kwargs={"stdin": given})
    thread.start()
    while lab._job is None:
        pass
    with pytest.raises(LabError, match="runs a command already"):
        lab.run(["true"])
    os.close(giver)
    thread.join()
    os.close(given)


@pytest.mark.proof
def test_one_that_is_closed_in_mid_command() -> None:
    """By another thread; and what was closed can be begun again."""
    lab, told, files = Lab(), list[LabError](), open_fds()

    def run() -> None:
        try:
            lab.run(["sh", "-c", "echo up; exec sleep 1000"], stdout=writer)
        except LabError as error:
            told.append(error)

    reader, writer = os.pipe()
    with lab, open(reader, "rb") as output:
        thread = threading.Thread(target=run)
        thread.start()
        assert output.readline() == b"up\n"
        lab.close()
        thread.join()
    os.close(writer)
    assert [type(error) for error in told] == [LabEnded]
    with lab:
        assert lab.run(["true"]) == 0
    assert open_fds() == files


def test_terminal(lab: Lab) -> None:
    reader, writer = os.pipe()
    script = "test -t 0 && test -t 1 && test -t 2 && stty size"
    status = lab.run_on_terminal(
        ["sh", "-c", script],
        size=(33, 101),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        timeout=LIMIT,
    )
    assert status == 0
    assert os.read(reader, 100) == b"33 101\r\n"
    os.close(reader)
    os.close(writer)


def read_until(terminal: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        assert select.select([terminal], [], [], LIMIT)[0], seen
        seen += os.read(terminal, 4096)
    return seen


def test_shell_in_a_real_terminal() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["SHELL"] = "/bin/sh"
        os.execv(sys.executable, [sys.executable, "-m", "pyvmm", "lab", "shell"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    read_until(terminal, b"# ")
    os.write(terminal, b"stty size\n")
    read_until(terminal, b"33 101")
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 90, 0, 0))
    os.write(terminal, b"while ! stty size | grep '40 90'; do sleep 1; done\n")
    read_until(terminal, b"40 90\r")
    os.write(terminal, b"sh -c 'echo st\"\"arted; exec sleep 1000'\n")
    read_until(terminal, b"started")
    os.write(terminal, b"\x03")
    os.write(terminal, b"echo st''atus=$?\n")
    read_until(terminal, b"status=130")
    os.write(terminal, b"exit 5\n")
    while True:
        try:
            if not os.read(terminal, 4096):
                break
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(terminal)


def on_terminal_until_up(lab: Lab, script: str) -> int:
    """Run it on a terminal whose other end is closed as soon as it says that it is up."""
    master, terminal = pty.openpty()

    def watch() -> None:
        read_until(master, b"up")
        os.close(master)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        return lab.run_on_terminal(["sh", "-c", script], stdin=terminal, stdout=terminal)
    finally:
        thread.join()
        os.close(terminal)


def test_nothing_outlives_its_terminal(lab: Lab) -> None:
    """Also where the host's kernel sends no SIGHUP: it is nobody's controlling terminal."""
    assert on_terminal_until_up(lab, "echo -n up; exec sleep 1000") == 129
    with pytest.raises(LabTimeout, match="when its terminal had hung up"):
        on_terminal_until_up(lab, "trap '' HUP PIPE; echo -n up; exec sleep 1000")


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def test_a_killed_pyvmm_takes_qemu_with_it() -> None:
    script = "echo up; exec sleep 1000"
    with subprocess.Popen([*PYVMM, "--", "sh", "-c", script], stdout=subprocess.PIPE) as pyvmm:
        assert pyvmm.stdout is not None
        assert pyvmm.stdout.readline() == b"up\n"
        (qemu,) = children(pyvmm.pid)
        descriptor = os.pidfd_open(qemu)
        pyvmm.kill()
        assert select.select([descriptor], [], [], 30)[0]
        os.close(descriptor)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_are_passed_on(number: signal.Signals, status: int) -> None:
    script = "echo up; exec sleep 1000"
    with subprocess.Popen([*PYVMM, "--", "sh", "-c", script], stdout=subprocess.PIPE) as pyvmm:
        assert pyvmm.stdout is not None
        assert pyvmm.stdout.readline() == b"up\n"
        pyvmm.send_signal(number)
        assert pyvmm.wait(60) == status


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.proof),
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.proof),
    ],
)
@pytest.mark.parametrize(
    "script",
    ["trap '' INT TERM HUP; echo up; sleep 1000", "rm -rf /run/pyvmm-lab; echo up; sleep 1000"],
)
def test_a_command_that_does_not_end_is_left(script: str, number: signal.Signals) -> None:
    command = [*PYVMM, "--", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as pyvmm:
        assert pyvmm.stdout is not None
        assert pyvmm.stderr is not None
        assert pyvmm.stdout.readline() == b"up\n"
        pyvmm.send_signal(number)
        for _ in range(20):
            with suppress(subprocess.TimeoutExpired):
                assert pyvmm.wait(3) == 128 + number
                assert b"was asked to end, and didn't; the lab's machine" in pyvmm.stderr.read()
                return
            if number != signal.SIGTERM:  # once that has come, time does
                pyvmm.send_signal(number)
        pyvmm.kill()
        pytest.fail("it didn't end")


@pytest.mark.proof
def test_a_command_for_which_there_is_no_memory() -> None:
    script = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    done = subprocess.run(
        [*PYVMM, "--memory", "256M", "--", sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 137
    assert re.search(
        r"^pyvmm: the lab's kernel: Out of memory: Killed process \d+ \(\w+\); take more --memory$",
        done.stderr,
        re.M,
    )


def test_statuses_of_the_command_line() -> None:
    def status(*options: str) -> int:
        return subprocess.run(
            [*PYVMM, *options], capture_output=True, stdin=subprocess.DEVNULL, check=False
        ).returncode

    assert status("--timeout", "1", "--", "sleep", "1000") == 124
    assert status("--device", "nosuchthing", "--", "true") == 120
    assert status("--kernel", "1.0", "--", "true") == 120
