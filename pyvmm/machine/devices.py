# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Opens the devices that a config lists: models here or in processes, servers', the host's."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pyvmm.config import Device as DeviceConfig
    from pyvmm.memory import MemoryRegion
    from pyvmm.vfio import Device, VfioError

    from .host_devices import HostDevices
    from .model_process import ModelProcess

    Open = Callable[[Callable[[VfioError], None]], Device]


# socket.SHUT_RDWR, without importing all of that for devices that have none.
_SHUT_RDWR = 2


class DeviceOpeners:
    """Says how to open each of a config's devices, and owns what stands behind them.

    That is the processes that pyvmm starts for models, in parallel, and the DMA spaces of the
    host's devices, which open_host_devices() opens. Iterating gives, in the config's order, what
    opens a device: open(lost) raises VfioError or ModelError, and has lost(error) called, on any
    thread, when the device's server goes. connections are the sockets of those in other processes.
    One in another process may be opened again, once the one of before is closed; then open() may
    also raise ModelProcessFailed.
    """

    def __init__(self, configs: Sequence[DeviceConfig]) -> None:
        """Start the processes. Raises ModelError, ModelProcessFailed."""
        self._processes: dict[int, ModelProcess] = {}
        self._host: HostDevices | None = None
        self._host_addresses = [config.host for config in configs if config.host is not None]
        self._openers: list[Open] = []
        self.connections: list[socket.socket] = []
        self.hung_up = False
        """All calls to devices in other processes fail, those to devices yet to be opened, too."""
        try:
            for index, config in enumerate(configs):
                self._openers.append(self._opener(index, config))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Open]:
        return iter(self._openers)

    def _opener(self, index: int, config: DeviceConfig) -> Open:
        if config.host is not None:
            return partial(self._take_host, config.host)
        if config.model is None:
            return partial(_connect, config, self._connected)
        from pyvmm import models

        try:
            models.check(config.model, config.options)
        except models.ModelError as error:
            raise models.ModelError(f"devices[{index}]: {error}") from None
        if not config.process:
            return partial(_create, config)
        self._start_process(index, config)
        return partial(self._open_process, index, config)

    def _start_process(self, index: int, config: DeviceConfig) -> ModelProcess:
        from .model_process import ModelProcess

        assert config.model is not None
        process = self._processes[index] = ModelProcess(config.model, config.options)
        self._connected(process.socket)
        return process

    def _open_process(
        self, index: int, config: DeviceConfig, lost: Callable[[VfioError], None]
    ) -> Device:
        process = self._processes[index]
        if process.socket.fileno() < 0:  # it has had its one client
            process.close()
            process = self._start_process(index, config)
        return _connect(config, self._connected, lost, process=process)

    def open_host_devices(self, memory: Iterable[MemoryRegion]) -> bool:
        """Open those of the host for a guest with this memory; whether there are any.

        All or none, and before the VM is there: whether they can be had is what is most likely
        to be wrong. Raises HostDeviceUnavailable, VfioError.
        """
        if not self._host_addresses:
            return False
        from .host_devices import HostDevices

        self._host = HostDevices()
        self._host.open(self._host_addresses, memory)
        return True

    def _take_host(self, address: str, _lost: Callable[[VfioError], None]) -> Device:
        assert self._host is not None
        return self._host.take(address)

    def _connected(self, sock: socket.socket) -> None:
        self.connections = [*(each for each in self.connections if each.fileno() >= 0), sock]
        if self.hung_up:
            self.hang_up()

    def hang_up(self) -> None:
        """Have every call to a device in another process fail, now and from now on.

        A server may hold up whoever calls it, each time just not long enough to be given up.
        Takes no lock: from any thread or signal handler.
        """
        self.hung_up = True
        for sock in self.connections:
            with suppress(OSError):  # closed, or hung up already
                sock.shutdown(_SHUT_RDWR)

    def close(self) -> None:
        """End the processes. Whoever opened devices has closed them. Idempotent."""
        with ExitStack() as stack:
            while self._processes:
                stack.callback(self._processes.popitem()[1].close)
            if self._host is not None:
                stack.callback(self._host.close)


def _create(config: DeviceConfig, _lost: Callable[[VfioError], None]) -> Device:
    from pyvmm import models

    assert config.model is not None
    return models.create(config.model, config.options)


def _connect(
    config: DeviceConfig,
    connected: Callable[[socket.socket], None],
    lost: Callable[[VfioError], None],
    *,
    process: ModelProcess | None = None,
) -> Device:
    from pyvmm.vfio import DeviceGone
    from pyvmm.vfio.user import Client

    def on_gone(error: VfioError) -> None:
        lost(_explained(error, process))

    try:
        if process is not None:
            from .model_process import START_LIMIT

            return Client(
                process.socket,
                process.name,
                timeout=config.timeout,
                first_timeout=max(config.timeout, START_LIMIT),
                on_gone=on_gone,
                posted_writes=config.posted_writes,
            )
        assert config.socket is not None
        return Client.connect(
            config.socket,
            timeout=config.timeout,
            on_gone=on_gone,
            on_connected=connected,
            posted_writes=config.posted_writes,
        )
    except DeviceGone as error:
        raise _explained(error, process, connecting=True) from None


def _explained(
    error: VfioError, process: ModelProcess | None, *, connecting: bool = False
) -> VfioError:
    """The same, with what is behind it, or where to look.

    That is what became of the process, if it was ours, that was to serve the device.
    """
    from pyvmm.vfio import DeviceGone, DeviceSilent, ProtocolError

    if not isinstance(error, DeviceGone) or error.cure:
        return error
    if isinstance(error, DeviceSilent):
        cure = "give it a longer timeout, if it is but slow"
        if connecting:
            cure = "it may be serving another client, or need a longer timeout"
        if process is not None:
            cure = "this machine may be too busy for it; give it a longer timeout"
    elif isinstance(error, ProtocolError):
        cure = "it is no vfio-user server, or one with a bug"
    else:
        cure = (process.ended() if process is not None else "") or "see what its server says"
    return type(error)(error.cause, cure)
