# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The channel's callers: who waits is woken, whatever comes, and whatever comes together."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pyvmm.vfio import DeviceGone, DeviceSilent, ProtocolError
from pyvmm.vfio.user.channel import Channel
from pyvmm.vfio.user.pending_call import Call
from pyvmm.vfio.user.transport import Message
from tests.unit.vfio.fakes import F_REPLY, PATIENCE, REGION_READ, Peer, Received, wait_until


class Talk:
    """A channel, the peer behind it, and callers in threads."""

    def __init__(self, peer: Peer, channel: Channel, pool: ThreadPoolExecutor) -> None:
        self.peer = peer
        self.channel = channel
        self._pool = pool

    def call(self, command: int, max_fds: int = 0) -> tuple[Future[Message], Received]:
        """A call from a thread of its own, and what came of it to the peer."""
        call = self._pool.submit(self.channel.call, command, b"", max_fds=max_fds)
        return call, self.peer.receive()


@pytest.fixture
def talk() -> Iterator[Talk]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours, "peer", lambda _: b"", timeout=PATIENCE)
    with Peer(theirs) as peer, ThreadPoolExecutor() as pool:
        yield Talk(peer, channel, pool)
        channel.close()


def test_closing_while_a_caller_is_being_woken(talk: Talk) -> None:
    class Awake:
        """A lock that somebody releases between any two steps of somebody else."""

        def locked(self) -> bool:
            return True

        def release(self) -> None:
            raise RuntimeError("release unlocked lock")

    call = Call(REGION_READ, threading.get_ident())
    call.wake = Awake()  # type: ignore[assignment]
    talk.channel._calls[1] = call
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
