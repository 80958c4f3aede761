# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Nvme: the model. Registers (section 3.1), interrupts, and the engine's life.

Doorbells are registers, since an ioeventfd loses the value that is written. A guest that sets up
doorbell buffers, as Linux does, puts it into memory: for such guests, and no others, the tail
doorbells of I/O queues can be ioeventfds, whose ringing is no exit to Python.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from pyvmm.models.backing import Backing
from pyvmm.models.capabilities import Express, MsiX, PowerManagement
from pyvmm.models.defaults import BLOCK_SIZE, BLOCK_SIZES, DRIVE_SIZE
from pyvmm.models.errors import ModelError
from pyvmm.models.fields import Field, Flag
from pyvmm.models.layout import Identity
from pyvmm.models.model import Model
from pyvmm.models.regions import Bar
from pyvmm.models.registers import Doorbell
from pyvmm.uapi.vfio import VFIO_PCI_MSIX_IRQ_INDEX

from .admin import MAX_ENTRIES
from .engine import Engine
from .features import MAX_QUEUES, VECTORS
from .identify import VERSION
from .namespace import Namespace
from .queues import CompletionQueue, SubmissionQueue
from .spec import CQE_SIZE, SQE_SIZE
from .statistics import Statistics

MAX_NAMESPACES = 256

_MAX_PAGE_SHIFT = 4  # MPSMAX: memory pages of 4 KiB to 64 KiB
_TIMEOUT = 120  # TO, in half seconds: what a slow disk may take to end its writes
_NVM_COMMAND_SET = 1 << 37
_CONTIGUOUS_QUEUES = 1 << 16
_CAP = (
    _MAX_PAGE_SHIFT << 52 | _NVM_COMMAND_SET | _TIMEOUT << 24 | _CONTIGUOUS_QUEUES | MAX_ENTRIES - 1
)
_SHUTDOWN_OCCURRING, _SHUTDOWN_COMPLETE = 1, 2


class Nvme(Model):
    """1234:0011: NVM Express 1.4."""

    identity = Identity(
        0x1234, 0x0011, class_code=0x010802, revision=1, subsystem_vendor=0x1234, subsystem=0x0011
    )
    capabilities = (
        PowerManagement(),
        MsiX(VECTORS, table=(0, 0x2000), pba=(0, 0x3000)),
        Express(),
    )
    interrupt_pin = 1
    migratable = False  # queues and features are no registers

    bar0 = Bar(0, 0x4000, wide=True)

    CAP = bar0.register(0x00, "ro", width=8, reset=_CAP, sizes=(4, 8))
    VS = bar0.register(0x08, "ro", reset=VERSION)
    INTMS = bar0.register(0x0C)
    INTMC = bar0.register(0x10)
    CC = bar0.register(0x14, writable=0x00FFFFF1)
    EN = Flag(CC, 1 << 0)
    CSS = Field(CC, 0x7 << 4)
    MPS = Field(CC, 0xF << 7)
    AMS = Field(CC, 0x7 << 11)
    SHN = Field(CC, 0x3 << 14)
    IOSQES = Field(CC, 0xF << 16)
    IOCQES = Field(CC, 0xF << 20)
    CSTS = bar0.register(0x1C, "ro")
    RDY = Flag(CSTS, 1 << 0)
    CFS = Flag(CSTS, 1 << 1)
    SHST = Field(CSTS, 0x3 << 2)
    AQA = bar0.register(0x24, writable=0x0FFF0FFF)
    ASQS = Field(AQA, 0xFFF)
    ACQS = Field(AQA, 0xFFF << 16)
    ASQ = bar0.register(0x28, width=8, writable=~0xFFF, sizes=(4, 8))
    ACQ = bar0.register(0x30, width=8, writable=~0xFFF, sizes=(4, 8))
    bar0.trapped(0x0000, 0x1000)  # what is reserved reads as zeros
    doorbells = bar0.trapped(0x1000, 0x1000)

    def __init__(
        self,
        name: str = "nvme",
        *,
        files: Sequence[str] = (),
        size: int = DRIVE_SIZE,
        block_size: int = BLOCK_SIZE,
        read_only: bool = False,
        serial: str = "",
        ioeventfd: bool = False,
    ) -> None:
        """A namespace for each of the files or block devices; without any, one of `size` bytes
        in memory. Without a serial number, it gets one from the host and its first file's path.
        `ioeventfd` is for guests that set up doorbell buffers before they use I/O queues.

        Raises ModelError.
        """
        if block_size not in BLOCK_SIZES:
            possible = " and ".join(map(str, BLOCK_SIZES))
            raise ModelError(f"blocks of {block_size} bytes: {possible} are possible")
        if len(files) > MAX_NAMESPACES:
            raise ModelError(f"{len(files)} namespaces: {MAX_NAMESPACES} are possible")
        super().__init__(name)
        if ioeventfd:
            self.offer_doorbells(self.bar0, _TAILS)
        self.namespaces: dict[int, Namespace] = {}
        self.statistics = Statistics()
        self._engine: Engine | None = None
        self._leaving: set[Engine] = set()
        """Of before resets of the function, with commands that still change files"""
        self._flushing = self._flush_again = False
        self._backings: list[Backing] = []
        try:
            for path in files:
                self._backings.append(Backing.open(path, read_only=read_only))
            if not files:
                self._backings.append(Backing.memory(size, read_only=read_only))
            for id, backing in enumerate(self._backings, 1):
                self.namespaces[id] = Namespace(id, backing, block_size)
        except BaseException:
            self.close()
            raise
        self.subsystem: uuid.UUID = self._backings[0].identity
        self.serial = serial or f"pyvmm-{self.subsystem.hex[:12]}"

    def close(self) -> None:
        with self.lock:
            self.on_reset()
        super().close()
        for backing in self._backings:
            backing.close()

    # Registers.

    @doorbells.on_write
    def ring(self, at: int, size: int, value: int) -> None:
        if size != 4:
            self.guest_error("a doorbell that is not of 4 bytes")
        elif self._engine is None:
            self.guest_error("a doorbell while the controller is off")
        else:
            self._engine.ring(at // 4, value)

    def ring_unseen(self, _times: int) -> None:
        """A tail doorbell whose value is in a doorbell buffer."""
        if self._engine is None:
            self.guest_error("a doorbell while the controller is off")
        else:
            self._engine.ring_unseen()

    @INTMS.on_write
    def mask(self, vectors: int) -> None:
        self._set_mask(self.INTMS | vectors)

    @INTMC.on_write
    def unmask(self, vectors: int) -> None:
        self._set_mask(self.INTMS & ~vectors)

    def _set_mask(self, mask: int) -> None:
        self.INTMS = self.INTMC = mask  # both read as the mask
        self.drive_intx()

    @CC.on_write
    def configure(self, value: int) -> None:
        before, self.CC = self.CC, value
        cls = type(self)
        if self.EN and not cls.EN.of(before):
            self._enable()
        elif cls.EN.of(before) and not self.EN:
            self._disable()
        if self.SHN and not cls.SHN.of(before):
            self._shut_down()

    def _enable(self) -> None:
        if self.RDY or self._engine or self._leaving:
            return  # once it has stopped, or those of before have left the files alone
        valid = self.CSS == 0 and self.AMS == 0 and self.MPS <= _MAX_PAGE_SHIFT
        page = 4096 << self.MPS
        if not (valid and self.ASQS and self.ACQS) or self.ASQ % page or self.ACQ % page:
            self.guest_error("the controller is enabled with values that it doesn't support")
            self.CFS = True
            return
        engine = Engine(self, page)
        engine.cqs[0] = cq = CompletionQueue(0, self.ACQ, self.ACQS + 1, 0)
        engine.sqs[0] = SubmissionQueue(0, self.ASQ, self.ASQS + 1, cq)
        cq.users = 1
        self._engine = engine
        self.CSTS = 0
        self.RDY = True

    def _disable(self) -> None:
        if self._engine:
            self._engine.stop()
        else:
            self.CSTS = 0

    def _shut_down(self) -> None:
        """Make everything durable, whichever way of shutting down is asked for."""
        self.SHST = _SHUTDOWN_OCCURRING
        if self._flushing:  # one at a time, however often it is asked for
            self._flush_again = True
            return
        self._flushing = True
        self.start(self._flush, self._flushed, waits=True)

    def _flush(self) -> bool:
        """Whether all is durable."""
        durable = True
        for backing in self._backings:
            try:
                if not backing.read_only:
                    backing.flush()
            except OSError as error:
                self.file_error(error)
                durable = False
        return durable

    def _flushed(self, durable: bool) -> None:
        self._flushing = False
        if self._flush_again:
            self._flush_again = False
            self._shut_down()
        elif self.SHST == _SHUTDOWN_OCCURRING:
            self.SHST = _SHUTDOWN_COMPLETE
            if not durable:
                self.CFS = True

    def on_reset(self) -> None:
        self._flushing = self._flush_again = False
        if self._engine:
            self._engine.abandon()
            if self._engine.changing:
                self._leaving.add(self._engine)
            self._engine = None

    def figures(self) -> Mapping[str, int]:
        counts = self.statistics
        return {
            "commands that read": counts.reads,
            "bytes read": counts.bytes_read,
            "commands that wrote": counts.writes,
            "bytes written": counts.bytes_written,
        }

    # For the engine.

    @property
    def entry_sizes_are_right(self) -> bool:
        return 1 << self.IOSQES == SQE_SIZE and 1 << self.IOCQES == CQE_SIZE

    @property
    def messages_on(self) -> bool:
        return self.irq_mode == VFIO_PCI_MSIX_IRQ_INDEX

    def interrupt(self, vector: int) -> None:
        """Tell the guest of completions."""
        with self.lock:
            if self.messages_on:
                self.signal(vector)
            else:
                self.drive_intx()

    def drive_intx(self) -> None:
        with self.lock:
            self.set_intx(bool(self._engine and self._engine.asserts_intx))

    def stopped(self, engine: Engine) -> None:
        """Nothing is under way any more: the reset of the controller is complete."""
        with self.lock:
            if engine is not self._engine:
                return
            self._engine = None
            self.CSTS = 0
            self.drive_intx()
            if self.EN:
                self._enable()

    def left_alone(self, engine: Engine) -> None:
        """With the lock: an engine of before a reset changes no file any more."""
        self._leaving.discard(engine)
        if self.EN and not self.CFS:
            self._enable()

    def fatal(self, engine: Engine, what: str) -> None:
        """The engine has come to an end that only a reset gets the controller out of."""
        with self.lock:
            if engine is self._engine:
                self.guest_error(what)
                self.CFS = True

    def file_error(self, error: OSError) -> None:
        """Count what a file could not do, and log it when it is the first of its kind."""
        self.statistics.media_errors += 1
        self.guest_error(f"a namespace's file: {error.strerror or error}")


def _tail(queue: int) -> Doorbell:
    doorbell = Doorbell(0x1000 + 8 * queue, 4)
    doorbell.on_ring(Nvme.ring_unseen)
    return doorbell


_TAILS = [_tail(queue) for queue in range(1, MAX_QUEUES + 1)]
