# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Opens the devices that a config lists: models here or in their own processes, and servers."""

from __future__ import annotations

from .model_process import ModelProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyvmm.config import Device as DeviceConfig
    from pyvmm.vfio import Device, VfioError


class ConfiguredDevices:
    """Owns the devices of a VM, and the processes that pyvmm started for them.

    Two steps, since a process takes a while to start: the constructor starts the processes,
    open() opens the devices. lost(error) is called, on any thread, once for each device that
    goes away or breaks its protocol from then on.
    """

    def __init__(self, configs: Sequence[DeviceConfig], lost: Callable[[Exception], None]) -> None:
        self._configs = configs
        self._lost = lost
        self._devices: list[Device] = []
        self._processes: list[ModelProcess | None] = []
        try:
            for config in configs:
                self._processes.append(_start(config) if config.process else None)
        except BaseException:
            self.close()
            raise

    def open(self) -> list[Device]:
        """Open all devices, in the config's order. Raises VfioError, ModelError."""
        for config, process in zip(self._configs, self._processes, strict=True):
            self._devices.append(self._open(config, process))
        return list(self._devices)

    def _open(self, config: DeviceConfig, process: ModelProcess | None) -> Device:
        if config.model is not None and process is None:
            from pyvmm import models

            return models.create(config.model, config.options)
        from pyvmm.vfio import DeviceGone
        from pyvmm.vfio.user import Client

        if process is not None:
            try:
                return Client(
                    process.socket,
                    process.name,
                    timeout=config.timeout,
                    on_gone=lambda error: self._lost(_explained(error, process)),
                )
            except DeviceGone as error:
                raise _explained(error, process) from None
        assert config.socket is not None
        return Client.connect(config.socket, timeout=config.timeout, on_gone=self._lost)

    def close(self) -> None:
        """Close the devices, then end their processes. Idempotent."""
        while self._devices:
            self._devices.pop().close()
        while self._processes:
            process = self._processes.pop()
            if process is not None:
                process.close()


def _explained(error: VfioError, process: ModelProcess) -> VfioError:
    """The same, with what became of the process that was to serve the device."""
    ended = process.ended()
    return type(error)(f"{error}; {ended}") if ended else error


def _start(config: DeviceConfig) -> ModelProcess:
    assert config.model is not None
    from pyvmm import models

    models.check(config.model, config.options)
    return ModelProcess(config.model, config.options)
