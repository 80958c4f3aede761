# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Mailbox: whoever still has one that another thread has closed is told that it has ended."""

from __future__ import annotations

import select
import socket

import pytest

from pyvmm.lab.errors import LabEnded
from pyvmm.lab.mailbox import Mailbox


def test_a_closed_one(no_leaks: None) -> None:
    ours, theirs = socket.socketpair()
    box: Mailbox[bytes] = Mailbox(ours, lambda line: line, "the agent")
    box.close()
    theirs.close()
    box.wake()
    box.acknowledge()
    with pytest.raises(LabEnded, match="the agent: the lab's machine has ended"):
        select.poll().register(box, select.POLLIN)
    with pytest.raises(LabEnded):
        box.wait(lambda line: line, 10, "answer")
    with pytest.raises(LabEnded):
        box.send(b"words\n")
    box.close()
