# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Servers in processes of their own, each on one end of a pair of UNIX stream sockets."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyvmm.vfio import VfioError
from pyvmm.vfio.user import Client

from ..build import ROOT
from ..errors import BenchError
from ..vmms import PATIENCE, environment


@contextmanager
def connected(command: Sequence[str]) -> Iterator[socket.socket]:
    """Run a server that takes its socket's descriptor as its last argument; yields the other end.

    On leaving it is no more, whatever has happened.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            fd = theirs.fileno()
            process = subprocess.Popen(
                [*command, str(fd)], pass_fds=(fd,), cwd=ROOT, env=environment()
            )
        with process:
            try:
                yield ours
            finally:
                process.terminate()


@contextmanager
def served(command: Sequence[str]) -> Iterator[Client]:
    """The device of such a server, which speaks vfio-user. Raises BenchError, also for the block's
    VfioError.
    """
    with connected(command) as sock:
        try:
            # It closes the socket that it is given.
            with Client(sock.dup(), command[-1], first_timeout=PATIENCE) as device:
                yield device
        except VfioError as error:
            raise BenchError(str(error)) from None
