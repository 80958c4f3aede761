# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""``pyvmm serve``: device models for any vfio-user client, each on a socket of its own."""

from __future__ import annotations

import gc
import socket
import threading
from contextlib import ExitStack
from functools import partial

from . import activation
from .failures import say
from .limits import allow_many_open_files
from .serving import Status, summary
from .signals import StopSignals
from .watchdog import Watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from pyvmm.vfio import Device, VfioError
    from pyvmm.vfio.user import Server


def check(options: argparse.Namespace) -> str:
    """What is wrong with the command line as a whole; '' if nothing is."""
    models, places = options.model, options.places
    several = len(models) > 1
    if not places and not activation.offered():
        return "one of the arguments --socket --fd is required" + (", for each" if several else "")
    if places and len(places) != len(models):
        from .._counted import counted

        found = f"{counted(len(models), 'model')} and {counted(len(places), 'place')}"
        return f"{found}: give each its --socket or --fd"
    if len(set(places)) != len(places):
        return "each model needs a --socket or --fd of its own"
    for key, _ in options.option:
        model, dot, _ = key.rpartition(".")
        if dot and model not in models:
            return f"option {key}: there is no {model!r} among what is served"
        if several and not dot:
            return f"option {key}: say of which model it is, as in {_which(models, key)}.{key}"
    return ""


def _which(models: Sequence[str], key: str) -> str:
    """One of the models that has this option, if there is one."""
    from pyvmm.models import MODELS

    known = (m for m in models if m in MODELS and key in (o.name for o in MODELS[m].options))
    return next(known, models[0])


def command(options: argparse.Namespace) -> int:
    from pyvmm import models

    allow_many_open_files()
    with (
        Watchdog() as watchdog,
        StopSignals(watchdog.signalled) as signals,
        ExitStack() as stack,
    ):
        devices = [
            stack.enter_context(models.create(name, _options_of(name, options.option)))
            for name in options.model
        ]
        servers: dict[str, Server] = {}
        status = Status(servers)

        def stop(_signal: str) -> None:
            for server in list(servers.values()):
                server.stop()

        # From here on no signal may come between a socket's file and what removes it.
        signals.call(stop)
        places: Sequence[str | int] = options.places
        if not places:
            places = activation.assign(activation.take(), options.model)
        for device, place in zip(devices, places, strict=True):
            name = f"{device.name} at {place}" if len(devices) > 1 else device.name
            of = f"{name}: " if len(devices) > 1 else ""
            client = partial(_tell_of_client, status.say, options.verbose, of)
            servers[name] = stack.enter_context(_server(device, place, client))
            if isinstance(place, str):
                say(f"{device.name} is served at {place}; Ctrl-C ends it")
        if not signals.number:
            gc.enable()
            with status:
                watchdog.restore = status.restore
                _serve(list(servers.values()))
                shown = status.shown
            if options.verbose or shown:
                for (name, server), device in zip(servers.items(), devices, strict=True):
                    for line in summary(name, server, device):
                        say(line)
    return 0


def _options_of(model: str, given: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    """The options for a model: KEY, or MODEL.KEY."""
    split = [(key.rpartition("."), value) for key, value in given]
    return {key: value for (of, dot, key), value in split if not dot or of == model}


def _server(device: Device, place: str | int, client: Callable[[VfioError | None], None]) -> Server:
    from pyvmm.vfio.user import Server

    if isinstance(place, str):
        return Server.listen(device, place, on_client=client)
    return Server(device, inherited(place), on_client=client)


def _serve(servers: Sequence[Server]) -> None:
    """Serve until all are stopped, or the clients they are for are gone.

    What one raises stops all.
    """
    if len(servers) == 1:
        servers[0].serve_forever()
        return
    failures: list[BaseException] = []

    def run(server: Server) -> None:
        try:
            server.serve_forever()
        except BaseException as error:
            failures.append(error)
            for other in servers:
                other.stop()

    threads = [
        threading.Thread(target=run, args=(server,), name=f"serving {i}")
        for i, server in enumerate(servers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _tell_of_client(
    say: Callable[[str], None], verbose: int, of: str, gone: VfioError | None
) -> None:
    """That clients come and go is no news; that one speaks no vfio-user always is."""
    from pyvmm.vfio import DeviceSilent, ProtocolError

    if gone is None:
        if verbose:
            say(f"{of}a client has connected")
    elif verbose or isinstance(gone, ProtocolError | DeviceSilent):
        say(f"{of}the client is gone: {gone}")


def inherited(fd: int) -> socket.socket:
    """The socket that whoever started us has left open as fd: connected, or listening."""
    from pyvmm.uapi.ioctl import failure
    from pyvmm.vfio import CannotListen

    doing = f"serving on fd {fd}"
    needed = "it has to be an open UNIX stream socket, connected or listening"
    try:
        sock = socket.socket(fileno=fd)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if not listens:
            sock.getpeername()
    except OSError as error:
        raise CannotListen(failure(doing, "getpeername", error.errno or 0, needed)) from None
    if (sock.family, sock.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        raise CannotListen(f"{doing}: {needed}")
    sock.set_inheritable(False)
    return sock
