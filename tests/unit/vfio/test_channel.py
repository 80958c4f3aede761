# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The channel's callers: who waits is woken, whatever comes, and whatever comes together."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pyvmm.vfio import DeviceGone, DeviceSilent, ProtocolError
from pyvmm.vfio.user.channel import Channel
from pyvmm.vfio.user.pending_calls import Call
from pyvmm.vfio.user.transport import Message
from tests.unit.vfio.fakes import (
    F_REPLY,
    PATIENCE,
    REGION_READ,
    REGION_WRITE,
    RESET,
    Peer,
    Received,
    wait_until,
)


class Talk:
    """A channel, the peer behind it, and callers in threads."""

    def __init__(self, peer: Peer, channel: Channel, pool: ThreadPoolExecutor) -> None:
        self.peer = peer
        self.channel = channel
        self._pool = pool

    def call(
        self, command: int, max_fds: int = 0, timeout: float | None = None
    ) -> tuple[Future[Message], Received]:
        """A call from a thread of its own, and what came of it to the peer."""
        call = self._pool.submit(self.channel.call, command, b"", max_fds=max_fds, timeout=timeout)
        return call, self.peer.receive()


@contextlib.contextmanager
def talking(timeout: float) -> Iterator[Talk]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours, "peer", lambda _: b"", timeout=timeout)
    with Peer(theirs) as peer, ThreadPoolExecutor() as pool:
        yield Talk(peer, channel, pool)
        channel.close()


@pytest.fixture
def talk() -> Iterator[Talk]:
    with talking(PATIENCE) as talk:
        yield talk


def test_closing_while_a_caller_is_being_woken(talk: Talk) -> None:
    class Awake:
        """A lock that somebody releases between any two steps of somebody else."""

        def locked(self) -> bool:
            return True

        def release(self) -> None:
            raise RuntimeError("release unlocked lock")

    call = Call(REGION_READ, threading.get_ident(), PATIENCE, 0.0)
    call.wake = Awake()  # type: ignore[assignment]
    talk.channel._calls.add(1, call)
    talk.channel.close()
    assert talk.peer.ended()


def test_a_reply_that_comes_as_its_caller_gives_up_leaves_no_fds(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(call: Call, *_: object) -> None:
        wait_until(lambda: call.reply is not None)
        raise DeviceSilent("too late")

    reader, _ = talk.call(REGION_READ)
    monkeypatch.setattr(talk.channel, "_sleep", give_up)
    sleeper, asked = talk.call(REGION_READ, max_fds=1)
    fd = os.memfd_create("passed")
    talk.peer.send(REGION_READ, b"", [fd], id=asked.id, flags=F_REPLY)
    os.close(fd)
    for call in (sleeper, reader):
        with pytest.raises(DeviceGone, match="too late"):
            call.result(PATIENCE)


def test_who_sleeps_is_woken_by_an_answer_to_something_else(talk: Talk) -> None:
    reader, _ = talk.call(REGION_READ)
    sleeper, asked = talk.call(REGION_READ)
    talk.peer.send(99, id=asked.id, flags=F_REPLY)
    with pytest.raises(ProtocolError, match="command 99 in answer to VFIO_USER_REGION_READ"):
        reader.result(PATIENCE)
    with pytest.raises(DeviceGone, match="command 99 in answer to VFIO_USER_REGION_READ"):
        sleeper.result(PATIENCE)


def test_a_call_behind_a_long_one_waits_for_both() -> None:
    """A server does one command after the other: what comes later has not begun to wait."""
    with talking(0.1) as talk:
        long, first = talk.call(RESET, timeout=PATIENCE)
        short, second = talk.call(REGION_READ)
        with pytest.raises(TimeoutError):
            short.result(0.4)
        assert talk.channel.gone is None
        talk.peer.send(RESET, id=first.id, flags=F_REPLY)
        talk.peer.send(REGION_READ, b"1234", id=second.id, flags=F_REPLY)
        assert long.result(PATIENCE).command == RESET
        assert short.result(PATIENCE).payload == b"1234"


def test_a_posted_command_behind_a_long_one_waits_for_both() -> None:
    with talking(0.1) as talk, ThreadPoolExecutor() as pool:
        long, first = talk.call(RESET, timeout=PATIENCE)
        posted = pool.submit(talk.channel.post, REGION_WRITE, bytes(4 << 20))
        with pytest.raises(TimeoutError):
            posted.result(0.4)
        assert talk.channel.gone is None
        assert len(talk.peer.receive().payload) == 4 << 20
        posted.result(PATIENCE)
        talk.peer.send(RESET, id=first.id, flags=F_REPLY)
        long.result(PATIENCE)


def test_a_peer_that_is_silent_is_found_out_by_the_first_of_the_calls() -> None:
    with talking(0.2) as talk:
        first, _ = talk.call(RESET)
        second, _ = talk.call(REGION_READ)
        for call in (first, second):
            with pytest.raises(DeviceGone, match=r"not answer VFIO_USER_DEVICE_RESET within 0.2 s"):
                call.result(PATIENCE)


def test_who_waits_for_two_says_how_long() -> None:
    """The first is answered after all, and the second never."""
    with talking(0.1) as talk:
        first, asked = talk.call(RESET, timeout=0.4)
        second, _ = talk.call(REGION_READ)
        talk.peer.send(RESET, id=asked.id, flags=F_REPLY)
        first.result(PATIENCE)
        with pytest.raises(DeviceSilent, match="did not answer VFIO_USER_REGION_READ") as caught:
            second.result(PATIENCE)
        seconds = re.search(r"within ([\d.]+) s", str(caught.value))
        assert seconds
        assert 0.1 <= float(seconds[1]) <= 0.5


def test_calls_that_overlap_without_end_put_nothing_off() -> None:
    """Two threads that poll, so that there is always a call under way; then there is no answer."""
    limit = 0.3
    with talking(limit) as talk:
        call, asked = talk.call(REGION_READ)
        for _ in range(100):
            following, next_asked = talk.call(REGION_READ)
            talk.peer.send(REGION_READ, id=asked.id, flags=F_REPLY)
            call.result(PATIENCE)
            call, asked = following, next_asked
        with pytest.raises(DeviceSilent) as caught:
            call.result(PATIENCE)
        seconds = re.search(r"within ([\d.]+) s", str(caught.value))
        assert seconds
        assert float(seconds[1]) <= 2 * limit
