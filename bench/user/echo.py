# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The least that Python can do for an answer: ``python -m bench.user.echo ASKED ANSWERED FD``.

For each ASKED bytes that it receives at a connected socket it sends ANSWERED, until its peer goes.
"""

from __future__ import annotations

import socket
import sys


def ask(sock: socket.socket, asked: int, answered: int, count: int) -> None:
    """The other side: so many times send, and wait for the answer."""
    question = bytes(asked)
    for _ in range(count):
        sock.send(question)
        sock.recv(answered)


def answer(sock: socket.socket, asked: int, answered: int) -> None:
    reply = bytes(answered)
    while sock.recv(asked):
        sock.send(reply)


if __name__ == "__main__":
    asked, answered, fd = map(int, sys.argv[1:])
    with socket.socket(fileno=fd) as sock:
        answer(sock, asked, answered)
