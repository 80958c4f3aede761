# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm serve``: a device model for any vfio-user client."""

from __future__ import annotations

import gc
import socket
from functools import partial

from .failures import say
from .limits import allow_many_open_files
from .signals import StopSignals
from .watchdog import Watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pyvmm.vfio import VfioError


def command(options: argparse.Namespace) -> int:
    from pyvmm import models
    from pyvmm.vfio.user import Server

    allow_many_open_files()
    with (
        Watchdog() as watchdog,
        StopSignals(watchdog.signalled) as signals,
        models.create(options.model, dict(options.option)) as model,
    ):
        server: Server | None = None

        def stop(_signal: str) -> None:
            if server is not None:
                server.stop()

        # From here on no signal may come between the socket's file and what removes it.
        signals.call(stop)
        client = partial(_tell_of_client, options.verbose)
        if options.socket is not None:
            server = Server.listen(model, options.socket, on_client=client)
        else:
            server = Server(model, _inherited(options.fd), on_client=client)
        with server:
            if options.socket is not None:
                say(f"{model.name} is served at {options.socket}; Ctrl-C ends it")
            if not signals.number:
                gc.enable()
                server.serve_forever()
    return 0


def _tell_of_client(verbose: int, gone: VfioError | None) -> None:
    """That clients come and go is no news; that one speaks no vfio-user always is."""
    from pyvmm.vfio import DeviceSilent, ProtocolError

    if gone is None:
        if verbose:
            say("a client has connected")
    elif verbose or isinstance(gone, ProtocolError | DeviceSilent):
        say(f"the client is gone: {gone}")


def _inherited(fd: int) -> socket.socket:
    """The connected socket that whoever started us has left open as fd."""
    from pyvmm.uapi.ioctl import failure
    from pyvmm.vfio import CannotListen

    doing = f"serving on --fd {fd}"
    needed = "it has to be an open, connected UNIX socket"
    try:
        sock = socket.socket(fileno=fd)
        sock.getpeername()
    except OSError as error:
        raise CannotListen(failure(doing, "getpeername", error.errno or 0, needed)) from None
    if sock.family != socket.AF_UNIX:
        raise CannotListen(f"{doing}: {needed}")
    sock.set_inheritable(False)
    return sock
