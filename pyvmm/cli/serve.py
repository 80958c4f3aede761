# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm serve``: a device model for any vfio-user client."""

from __future__ import annotations

import signal
import socket

from .failures import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def command(options: argparse.Namespace) -> int:
    from pyvmm import models
    from pyvmm.vfio.user import Server

    with models.create(options.model, dict(options.option)) as model:
        if options.socket is not None:
            server = Server.listen(model, options.socket)
            say(f"{model.name} is served at {options.socket}; Ctrl-C ends it")
        else:
            server = Server(model, _inherited(options.fd))
        with server:

            def stop(_number: int, _frame: FrameType | None) -> None:
                server.stop()

            for number in _SIGNALS:
                signal.signal(number, stop)
            server.serve_forever()
    return 0


def _inherited(fd: int) -> socket.socket:
    """The connected socket that whoever started us has left open as fd."""
    from pyvmm.vfio import VfioError

    try:
        sock = socket.socket(fileno=fd)
        sock.getpeername()
    except OSError as error:
        raise VfioError(
            f"--fd {fd}: {error.strerror}; it has to be an open, connected UNIX socket"
        ) from None
    sock.set_inheritable(False)
    return sock
