# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""virtio-console: a console of the guest's, at a UNIX socket (section 5.3)."""

from __future__ import annotations

from pyvmm.models.stream import Stream

from .pci import VirtioDevice, identity
from .virtqueue import Chain

RECEIVE, TRANSMIT = 0, 1  # the queues of the one port (section 5.3.2)
MOST = 64 << 10  # bytes of one request


class VirtioConsole(VirtioDevice):
    """1af4:1043."""

    identity = identity(3, class_code=0x078000)
    queue_sizes = (64, 64)

    def __init__(self, name: str = "virtio-console", *, socket: str = "") -> None:
        """At the socket there is one client at a time; without one, nobody hears the guest.

        Raises CannotListen, VfioError, ModelError.
        """
        self._stream: Stream | None = None
        super().__init__(name)
        if socket:
            try:
                self._stream = Stream(socket, self._stream_changed)
            except BaseException:
                super().close()
                raise

    def close(self) -> None:
        super().close()  # first, so that no work needs the stream any more
        if self._stream is not None:
            self._stream.close()

    def configuration(self) -> bytes:
        """struct virtio_console_config (section 5.3.4), of whose features there are none."""
        return bytes(12)

    def at_once(self, queue: int) -> int:
        if self._stream is None:
            return super().at_once(queue) if queue == TRANSMIT else 0
        return int(self._stream.heard > 0 if queue == RECEIVE else self._stream.room)

    def handle(self, queue: int, chain: Chain) -> int:
        if queue == TRANSMIT:
            data = self.read_chain(chain, MOST + 1)
            if len(data) > MOST:
                self.guest_error(f"more than {MOST} bytes of output at once: the rest is lost")
            if self._stream is not None:
                self._stream.say(data[:MOST])
            return 0
        assert self._stream is not None
        return self.fill_chain(chain, self._stream.take(min(chain.room, MOST)))

    def _stream_changed(self) -> None:
        """Buffers that wait for input, and output that waits for the client, may go on."""
        with self.lock:
            for queue in (RECEIVE, TRANSMIT):
                self.notified(queue)
