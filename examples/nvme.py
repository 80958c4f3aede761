#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""An NVMe driver in user space: identify, read, write; by interrupts, many commands at a time.

A command is put into a ring in memory, the submission queue, and a doorbell register tells the
drive. It answers in the completion queue, and by an interrupt. (Sections are those of NVMe 1.4.)
"""

from __future__ import annotations

import argparse
import signal
import struct
import sys
import time
from array import array
from collections.abc import Iterable, Iterator

from pyvmm import vfio
from pyvmm.vfio import Field, Flag, Register

PAGE = 4096
CREATE_SUBMISSION, CREATE_COMPLETION, IDENTIFY, SET_FEATURES = 0x01, 0x05, 0x06, 0x09
WRITE, READ = 0x01, 0x02
PATIENCE = 10.0  # seconds that a command may take


class NvmeError(vfio.VfioError): ...


class Controller(vfio.RegisterMap):
    """The registers at the start of BAR 0 (section 3.1)."""

    capabilities = Register(0x00, 8)
    last_entry = Field(capabilities, 0xFFFF)
    half_seconds = Field(capabilities, 0xFF << 24)
    doorbell_stride = Field(capabilities, 0xF << 32)
    configuration = Register(0x14)
    status = Register(0x1C)
    ready = Flag(status, 1 << 0)
    fatal = Flag(status, 1 << 1)
    admin_entries = Register(0x24)
    admin_submission = Register(0x28, 8)
    admin_completion = Register(0x30, 8)


class Queue:
    """A submission queue and its completion queue, with room for `entries` - 1 commands."""

    def __init__(self, nvme: Nvme, number: int, entries: int, irq: vfio.Interrupt) -> None:
        self.number, self.entries, self.irq, new = number, entries, irq, nvme.dev.dma.alloc
        self.submission, self.completion = new(entries * 64), new(entries * 16)
        self.lists = new(entries * PAGE)  # a page for each command that moves three or more
        self.commands, self.pages = self.submission.view, self.lists.view.cast("Q")
        self.answers = self.completion.view.cast("I")
        self.doorbells, stride = nvme.bar.u32, 4 << nvme.regs.doorbell_stride
        self.tail_doorbell = 0x1000 + 2 * number * stride
        self.head_doorbell = self.tail_doorbell + stride
        self.tail = self.head = 0
        self.phase = 1  # marks new answers, and changes with each turn around the ring
        self.free = list(range(entries - 1))  # ids of commands

    def run(self, commands: Iterable[tuple[int, ...]]) -> None:
        """Do what submit() takes, as many at a time as there is room for. Raises VfioError."""
        waiting, refused = iter(commands), 0
        while True:
            while not refused and self.free and (command := next(waiting, None)):
                self.submit(*command)
            if len(self.free) == self.entries - 1:
                break
            self.doorbells[self.tail_doorbell] = self.tail
            self.irq.wait(PATIENCE)
            refused = max([refused, *self.finished()])
        if refused:
            raise NvmeError(f"the drive refuses a command: status {refused:#x} (section 4.6.1)")

    def submit(self, op: int, namespace: int, iova: int = 0, size: int = 0, *words: int) -> None:
        """Put a command into the ring (section 4.2). Its data, in whole pages, are at `iova`."""
        id, more = self.free.pop(), range(iova + PAGE, iova + size, PAGE)
        second = more[0] if more else 0
        if len(more) > 1:
            second = self.lists.iova + id * PAGE
            self.pages[id * PAGE // 8 : id * PAGE // 8 + len(more)] = array("Q", more)
        fields = (op, 0, id, namespace, 0, 0, 0, iova, second, *words, 0, 0, 0)
        struct.pack_into("<BBHIIIQQQIII", self.commands, self.tail * 64, *fields[:12])
        self.tail = (self.tail + 1) % self.entries

    def finished(self) -> Iterator[int]:
        """The status of each command that has ended since the last time (section 4.6)."""
        while (answer := self.answers[self.head * 4 + 3]) >> 16 & 1 == self.phase:
            self.free.append(answer & 0xFFFF)
            self.head = (self.head + 1) % self.entries
            self.phase ^= self.head == 0
            yield answer >> 17
        self.doorbells[self.head_doorbell] = self.head
        if self.irq.automasked:
            self.irq.unmask()


class Nvme:
    """A drive, as far as its first namespace goes. All that it has ends with the device."""

    def __init__(self, dev: vfio.PciDevice, depth: int = 32) -> None:
        """Start a drive, to do up to `depth` reads and writes at a time. Raises VfioError."""
        if (kind := dev.config.class_code) != 0x010802:
            raise NvmeError(f"{dev.name} is no NVMe drive: its class is {kind:06x}")
        self.dev, self.bar = dev, dev.bars[0].map()
        self.regs = regs = Controller(self.bar)
        self.turn(on=False)  # in case that somebody has left it running
        vectors = next((kind for kind in (dev.msix, dev.msi) if kind.count), dev.intx)
        irqs = vectors.enable(min(2, vectors.count or 1))
        self.admin = Queue(self, 0, min(8, regs.last_entry + 1), irqs[0])
        regs.admin_entries = (self.admin.entries - 1) * 0x10001
        regs.admin_submission = self.admin.submission.iova
        regs.admin_completion = self.admin.completion.iova
        self.turn(on=True)
        self.io = Queue(self, 1, min(max(depth, 1), regs.last_entry) + 1, irqs[-1])
        self.create_io_queue(self.io)
        self.identify()

    def turn(self, on: bool) -> None:
        """Start or stop the controller (section 7.6.1)."""
        self.regs.configuration = 4 << 20 | 6 << 16 | 1 if on else 0
        deadline = time.monotonic() + 1 + self.regs.half_seconds / 2
        while self.regs.ready != on:
            if self.regs.fatal or time.monotonic() > deadline:
                raise NvmeError(f"{self.dev.name} does not turn {'on' if on else 'off'}")
            time.sleep(0.001)

    def create_io_queue(self, io: Queue) -> None:
        """Ask for a queue of each kind, and make it (sections 5.21.1.7, 5.3 and 5.4)."""
        shape, signal = (io.entries - 1) << 16 | 1, io.irq.vector << 16 | 3
        self.admin.run([(SET_FEATURES, 0, 0, 0, 0x07)])
        self.admin.run([(CREATE_COMPLETION, 0, io.completion.iova, 0, shape, signal)])
        self.admin.run([(CREATE_SUBMISSION, 0, io.submission.iova, 0, shape, 1 << 16 | 1)])

    def identify(self) -> None:
        """Learn what the drive (section 5.15.2.2) and its first namespace (5.15.2.1) are."""
        with self.dev.dma.alloc(PAGE) as page:
            self.admin.run([(IDENTIFY, 0, page.iova, PAGE, 1)])
            names = struct.unpack_from("20s40s8s", page.view, 4)
            self.serial, self.model, self.firmware = (n.decode("latin1").strip() for n in names)
            self.max_transfer = PAGE << min(page.view[77] or 8, 8)
            self.admin.run([(IDENTIFY, 1, page.iova, PAGE)])
            self.blocks: int = struct.unpack_from("<Q", page.view)[0]
            self.block_size = 1 << page.view[130 + 4 * (page.view[26] & 0xF)]

    def check(self, block: int, count: int) -> None:
        if block < 0 or count < 1 or block + count > self.blocks:
            raise NvmeError(f"{self.dev.name} has {self.blocks} blocks: no {count} at {block}")

    def transfer(self, opcode: int, block: int, iova: int, size: int) -> None:
        """READ or WRITE `size` bytes, from `block` on. Raises VfioError."""
        self.check(block, size // self.block_size)
        commands = []
        for at in range(0, size, self.max_transfer):
            part, lba = min(self.max_transfer, size - at), block + at // self.block_size
            where = (lba & 0xFFFFFFFF, lba >> 32, part // self.block_size - 1)
            commands.append((opcode, 1, iova + at, part, *where))
        self.io.run(commands)


def run(drive: Nvme, options: argparse.Namespace) -> None:
    size, count = drive.block_size, options.blocks
    print(f"{drive.model}, serial {drive.serial}: {drive.blocks} blocks of {size} bytes")
    if options.write is not None:
        data = sys.stdin.buffer.read()
        drive.check(options.write, blocks := -(-len(data) // size))
        with drive.dev.dma.alloc(blocks * size) as buf:
            buf.view[: len(data)] = data
            drive.transfer(WRITE, options.write, buf.iova, buf.size)
    if (block := options.read) is not None:
        drive.check(block, count)
        with drive.dev.dma.alloc(count * size) as buf:
            drive.transfer(READ, block, buf.iova, buf.size)
            for at in range(0, buf.size, 16):
                if any(row := bytes(buf.view[at : at + 16])):
                    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
                    print(f"{block * size + at:010x}  {row.hex(' ')}  {text}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Use an NVMe drive without the kernel's driver.")
    parser.add_argument("where", help="its PCI address, if vfio-pci has it, or a vfio-user socket")
    parser.add_argument("--write", type=int, metavar="BLOCK", help="write what is piped in there")
    parser.add_argument("--read", type=int, metavar="BLOCK", help="print blocks, but for zeros")
    parser.add_argument("--blocks", type=int, default=1, metavar="N", help="so many of them (1)")
    parser.add_argument("--depth", type=int, default=32, metavar="N", help="at a time (32)")
    options = parser.parse_args()
    try:
        with vfio.open(options.where) as dev:
            run(Nvme(dev, options.depth), options)
    except vfio.VfioError as error:
        sys.exit(f"nvme.py: error: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it, and no traceback tells
    main()
