# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The server from its socket's first appearance to its end, with clients that come and go."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyvmm.uapi.vfio import (
    VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_IRQ_SET_DATA_EVENTFD,
)
from pyvmm.vfio import CannotListen, DeviceGone, DmaFault, EventFd, VfioError
from pyvmm.vfio.listening_socket import ListeningSocket
from pyvmm.vfio.user import Client, Server, serve
from tests.unit.vfio.fakes import (
    DMA_MAP,
    GET_INFO,
    PATIENCE,
    REGION_READ,
    REGION_WRITE,
    SET_IRQS,
    VERSION,
    FakeDevice,
    Peer,
    open_files,
    wait_until,
)

CONFIG, MSIX, INTX = 7, 2, 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.sock"


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever)
    with server:
        thread.start()
        yield server
        server.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def server(device: FakeDevice, path: Path) -> Iterator[Server]:
    with serving(Server.listen(device, path, timeout=PATIENCE)) as server:
        yield server


def connect(path: Path) -> Peer:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return Peer(sock)


def greeted(path: Path) -> Peer:
    peer = connect(path)
    peer.answered(VERSION, struct.pack("=HH", 0, 1))
    return peer


def ram() -> int:
    fd = os.memfd_create("ram", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 0x4000)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return fd


def test_clients_come_one_after_the_other(server: Server, device: FakeDevice, path: Path) -> None:
    for value in range(3):
        with Client.connect(path, timeout=PATIENCE) as client:
            client.region_write(CONFIG, 4, bytes([value]))
            assert client.region_read(CONFIG, 4, 1) == bytes([value])
    assert device.bytes[CONFIG][4] == 2


def test_the_next_client_waits_for_the_one_before(server: Server, path: Path) -> None:
    with greeted(path) as first, connect(path) as second:
        second.send(VERSION, struct.pack("=HH", 0, 1))
        first.answered(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))
        first.close()
        assert second.receive().command == VERSION


def test_what_a_client_leaves_is_undone(server: Server, device: FakeDevice, path: Path) -> None:
    """Its memory and eventfds are let go; the device is reset, with bus mastering off."""
    before = open_files()
    fd = ram()
    trigger_eventfd = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD
    unmask_eventfd = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_EVENTFD
    with greeted(path) as peer, EventFd() as one, EventFd() as unmask:
        peer.answered(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x1000, 0x1000), [fd])
        peer.answered(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x2000, 0x1000))
        peer.answered(REGION_WRITE, struct.pack("=QII", 4, CONFIG, 2) + b"\x07\x04")
        for index, vector in ((MSIX, 9), (INTX, 0)):
            payload = struct.pack("=IIIII", 20, trigger_eventfd, index, vector, 1)
            peer.answered(SET_IRQS, payload, [one.fileno()])
        payload = struct.pack("=IIIII", 20, unmask_eventfd, INTX, 0, 1)
        peer.answered(SET_IRQS, payload, [unmask.fileno()])
        assert device.table.read(0x1000, 4) == bytes(4)
    os.close(fd)
    wait_until(lambda: open_files() == before)
    assert not device.triggers
    disabled = [call for call in device.irq_calls if call[3:] == (0, None)]
    assert sorted(call[0] for call in disabled) == [INTX, MSIX]
    for iova in (0x1000, 0x2000):
        with pytest.raises(DmaFault, match="not mapped"):
            device.table.read(iova, 1)
    assert device.resets == 1
    with greeted(path) as peer:
        read = struct.pack("=QII", 4, CONFIG, 2)
        assert peer.answered(REGION_READ, read) == read + b"\x03\x04"


def test_a_device_that_fails_when_its_client_goes(
    server: Server, device: FakeDevice, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with greeted(path) as peer, EventFd() as eventfd:
        flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD
        payload = struct.pack("=IIIII", 20, flags, MSIX, 0, 1)
        peer.answered(SET_IRQS, payload, [eventfd.fileno()])
        peer.answered(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x2000, 0x1000))
        called = threading.Event()

        def fail(*_: object) -> None:
            called.set()
            raise RuntimeError("a bug")

        monkeypatch.setattr(device, "set_irqs", fail)
        monkeypatch.setattr(device.table, "unmap", fail)
    with greeted(path) as peer:
        assert called.is_set()
        peer.answered(GET_INFO, struct.pack("=IIII", 16, 0, 0, 0))


def conversation() -> bytes:
    def message(command: int, payload: bytes) -> bytes:
        return struct.pack("=HHIII", command, command, 16 + len(payload), 0, 0) + payload

    return b"".join(
        (
            message(VERSION, struct.pack("=HH", 0, 1) + b"{}\0"),
            message(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x2000, 0x1000)),
            message(REGION_WRITE, struct.pack("=QII", 0, CONFIG, 4) + b"four"),
            message(REGION_READ, struct.pack("=QII", 0, CONFIG, 256)),
        )
    )


def test_clients_that_die_at_any_point(server: Server, device: FakeDevice, path: Path) -> None:
    """After each byte, with and without reading the answers; and another is served after it."""
    before = open_files()
    data = conversation()
    for length in range(0, len(data), 3):
        with connect(path) as peer:
            peer.send_bytes(data[:length])
    for length in range(1, len(data), 7):
        with connect(path) as peer:
            peer.send_bytes(data[:length])
            peer.sock.shutdown(socket.SHUT_WR)
            while peer.sock.recv(4096):
                pass
    with greeted(path) as peer:
        peer.answered(DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0x2000, 0x1000))
    wait_until(lambda: open_files() == before)


def test_a_client_that_says_nothing_does_not_keep_the_others_out(
    device: FakeDevice, path: Path
) -> None:
    with (
        serving(Server.listen(device, path, timeout=0.5)),
        connect(path) as silent,
        Client.connect(path, timeout=PATIENCE) as client,
    ):
        assert client.info.num_regions == 9
        assert silent.ended()


def drip(peer: Peer) -> None:
    while True:
        peer.send_bytes(b"x")


def test_a_client_that_begins_ever_so_slowly_does_not_either(
    device: FakeDevice, path: Path
) -> None:
    with (
        serving(Server.listen(device, path, timeout=0.5)),
        connect(path) as slow,
    ):
        slow.send_bytes(struct.pack("=HHIII", 1, VERSION, 1 << 20, 0, 0))
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            drip(slow)
        with Client.connect(path, timeout=PATIENCE) as client:
            assert client.info.num_regions == 9


@pytest.mark.parametrize("size", [1, 15, 16, 30])
def test_a_client_that_never_ends_what_it_began(device: FakeDevice, path: Path, size: int) -> None:
    """Silence is a client's right, but not in the midst of a message."""
    message = struct.pack("=HHIII", 2, DMA_MAP, 48, 0, 0) + bytes(32)
    with serving(Server.listen(device, path, timeout=0.6)), greeted(path) as peer:
        time.sleep(1)
        peer.send_bytes(message[:size])
        time.sleep(0.05)
        peer.send_bytes(message[size:])
        assert peer.receive().id == 2
        time.sleep(1)
        peer.send_bytes(message[:size])
        assert peer.ended()
        with Client.connect(path, timeout=PATIENCE) as client:
            assert client.info.num_regions == 9


@pytest.mark.parametrize("pieces", [1, 2])
def test_one_that_ends_another_message_with_the_beginning(
    device: FakeDevice, path: Path, pieces: int
) -> None:
    """What comes in one piece with the half of the next, and what completes before it."""
    message = struct.pack("=HHIII", 2, DMA_MAP, 48, 0, 0) + bytes(32)
    with serving(Server.listen(device, path, timeout=0.6)), greeted(path) as peer:
        if pieces > 1:
            peer.send_bytes(message[:20])
            time.sleep(0.05)
            peer.send_bytes(message[20:] + message[:20])
        else:
            peer.send_bytes(message + message[:20])
        assert peer.receive().id == 2
        assert peer.ended()
        with Client.connect(path, timeout=PATIENCE) as client:
            assert client.info.num_regions == 9


def ask_for_ever(peer: Peer, asked: bytes) -> None:
    while True:
        peer.send(REGION_READ, asked)


def test_a_client_that_asks_and_never_reads(device: FakeDevice, path: Path) -> None:
    """Nor does it keep others out for ever."""
    asked = struct.pack("=QII", 0, 0, 1 << 20)
    with serving(Server.listen(device, path, timeout=0.6)), greeted(path) as deaf:
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            ask_for_ever(deaf, asked)
        with Client.connect(path, timeout=PATIENCE) as client:
            assert client.info.num_regions == 9


def test_one_that_reads_ever_so_slowly_is_served(device: FakeDevice, path: Path) -> None:
    size = 1 << 20
    asked = struct.pack("=QII", 0, 0, size)
    with serving(Server.listen(device, path, timeout=0.6)), greeted(path) as slow:
        for _ in range(12):
            slow.send(REGION_READ, asked)
        left = 12 * (16 + 16 + size)
        for _ in range(10):
            time.sleep(0.1)
            left -= len(slow.sock.recv(200_000))
        while left:
            left -= len(slow.sock.recv(1 << 20))


def test_stopping_ends_the_clients_session(device: FakeDevice, path: Path) -> None:
    with serving(Server.listen(device, path)) as server, greeted(path) as peer:
        server.stop()
        assert peer.ended()
    server.stop()
    server.close()


def test_stopping_from_a_signal_handler(device: FakeDevice, path: Path) -> None:
    """As `pyvmm serve` does: the handler runs in the thread that serves."""
    with Server.listen(device, path) as server:
        main = threading.get_ident()

        def client() -> None:
            with greeted(path) as peer:
                signal.pthread_kill(main, signal.SIGUSR1)
                assert peer.ended()

        old = signal.signal(signal.SIGUSR1, lambda *_: server.stop())
        thread = threading.Thread(target=client)
        thread.start()
        try:
            server.serve_forever()
        finally:
            thread.join(PATIENCE)
            signal.signal(signal.SIGUSR1, old)


def test_one_client_on_a_connected_socket(device: FakeDevice) -> None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=serve, args=(theirs, device))
    thread.start()
    with Client(ours, timeout=PATIENCE) as client:
        assert client.region_read(CONFIG, 0, 2) == b"\0\1"
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_the_socket_is_there_when_it_listens_and_gone_when_closed(path: Path) -> None:
    with ListeningSocket(path) as listening:
        assert os.listdir(path.parent) == [path.name]
        with connect(path):
            listening.sock.accept()[0].close()
    assert not os.listdir(path.parent)
    listening.close()


def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with ListeningSocket(path), connect(path):
        pass
    assert not path.exists()


@pytest.mark.parametrize("backlog_full", [False, True])
def test_a_live_server_is_left_alone(path: Path, backlog_full: bool) -> None:
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(socket.socket(socket.AF_UNIX))
        live.bind(str(path))
        live.listen(0)
        if backlog_full:
            stack.enter_context(connect(path))
        with pytest.raises(VfioError, match="another server listens there"):
            ListeningSocket(path)
        assert path.is_socket()


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(VfioError, match="no socket"):
        ListeningSocket(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/full", path)],
    ids=["FIFO", "directory", "device"],
)
def test_other_things_than_files_are_left_alone_too(
    path: Path, make: Callable[[Path], None]
) -> None:
    make(path)
    before = os.lstat(path)
    with pytest.raises(CannotListen, match="that is no socket; choose another path"):
        ListeningSocket(path)
    assert os.lstat(path) == before


def test_a_socket_that_another_server_took_is_left_to_it(path: Path) -> None:
    with ListeningSocket(path):
        path.unlink()
        with ListeningSocket(path) as second:
            pass
        second.close()
        path.write_text("somebody else's")
    assert path.exists()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda tmp: tmp / "nowhere" / "s", r"open: ENOENT .*; make the directory first"),
        (lambda tmp: tmp / ("n" * 200), r"bind: ENAMETOOLONG .*; choose one of at most 107 bytes"),
    ],
)
def test_paths_that_cannot_be(tmp_path: Path, make: Callable[[Path], Path], complaint: str) -> None:
    with pytest.raises(VfioError, match=complaint):
        ListeningSocket(make(tmp_path))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("/proc/s", r"bind: ENOENT .*; no file can be made in that directory: choose another one"),
        ("/dev/full/s", r"open: ENOTDIR .*; choose a path within a directory"),
    ],
)
def test_places_without_room_for_a_file(where: str, complaint: str) -> None:
    with pytest.raises(CannotListen, match=complaint):
        ListeningSocket(where)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_whatever_forbids_a_file_there_is_a_cure(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class Refused(socket.socket):
        def bind(self, _: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refused)
    with pytest.raises(CannotListen, match=rf"bind: {errno.errorcode[number]} \(.*\); \w+"):
        ListeningSocket(path)
    assert not os.listdir(path.parent)


@pytest.mark.parametrize("relative", [False, True])
def test_the_longest_path(
    device: FakeDevice, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        directory = Path(top, "d" * (104 - len(top)))
        directory.mkdir()
        monkeypatch.chdir(directory)
        path = Path("s") if relative else directory / "s"
        assert relative or len(str(path)) == 107
        with ListeningSocket(path), connect(path):
            assert os.listdir(directory) == ["s"]
        assert not os.listdir(directory)


def test_a_server_without_descriptors_accepts_when_there_are_some(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyvmm.vfio.user.server._RETRY", 0.01)
    waited = threading.Event()
    wait = EventFd.wait

    def noticed(eventfd: EventFd, timeout: float | None = None) -> bool:
        waited.set()
        return wait(eventfd, timeout)

    monkeypatch.setattr(EventFd, "wait", noticed)
    with contextlib.ExitStack() as stack, socket.socket(socket.AF_UNIX) as sock:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, limits[1]))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        with contextlib.ExitStack() as hoard:
            with contextlib.suppress(VfioError):
                while True:
                    hoard.enter_context(EventFd())
            sock.connect(str(path))
            assert waited.wait(PATIENCE)
        with Peer(sock) as peer:
            peer.answered(VERSION, struct.pack("=HH", 0, 1))


def test_connecting_to_nothing(path: Path) -> None:
    with pytest.raises(DeviceGone, match=r"device.sock: connect: ENOENT .*; start the server"):
        Client.connect(path)
    with ListeningSocket(path) as listening:
        listening.sock.close()
    with pytest.raises(DeviceGone, match=r"ECONNREFUSED .*; the server that made this socket"):
        Client.connect(path)
    with pytest.raises(DeviceGone, match="ENAMETOOLONG"):
        Client.connect("/" + "n" * 200)


def test_connecting_without_a_descriptor_left(path: Path) -> None:
    """A VM that has a device come back lives on."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ListeningSocket(path):
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            with pytest.raises(VfioError, match=r"device.sock: socket: EMFILE .*ulimit -n"):
                Client.connect(path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_connecting_to_a_server_whose_queue_is_full(path: Path) -> None:
    with ListeningSocket(path) as listening:
        listening.sock.listen(0)
        with connect(path), pytest.raises(DeviceGone, match=r"EAGAIN .*busy with another client"):
            Client.connect(path, timeout=0.05)
