#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A driver for Intel's gigabit NICs, in asyncio: it sends and receives frames, and pings a host.

    python examples/nic.py 0000:03:00.0 --ping 10.0.2.2

It drives the 82574L (QEMU's e1000e) and the 82576 (QEMU's igb). Both have a ring of descriptors
of 16 bytes for frames to send, and one for frames to come. The driver gives descriptors to the
device by moving the ring's tail; the device marks those that it is done with, and sends an
interrupt. Chapters are those of the 82574L's and the 82576's datasheets.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from pyvmm import vfio
from pyvmm.vfio import Flag, Register

ENTRIES = 64  # of each ring; a multiple of 8
FRAME_SIZE = 2048  # of each buffer
PATIENCE = 10.0  # seconds

# Of the interrupt registers: a frame was sent, one came, and there was no room for one.
SENT, OVERRUN, RECEIVED = 1 << 0, 1 << 6, 1 << 7
# Of descriptors: the end of a frame, its checksum wanted, an answer wanted; and that answer.
END, CHECKSUM, REPORT, DONE = 1 << 24, 1 << 25, 1 << 27, 1 << 0
# Of receive control: on; take broadcasts; leave the checksum away.
RECEIVE, BROADCAST, STRIP_CHECKSUM = 1 << 1, 1 << 15, 1 << 26
# Of transmit control: on; pad short frames.
TRANSMIT, PAD = 1 << 1, 1 << 3
# Of the PHY: write to PHY 1's register 0, to negotiate with the other end of the cable, now.
NEGOTIATE = 1 << 26 | 1 << 21 | 0 << 16 | 1 << 12 | 1 << 9


class NicError(vfio.VfioError):
    """It is another device, or the network doesn't answer."""


class Registers(vfio.RegisterMap):
    """The registers in BAR 0 that both have."""

    control = Register(0x0000)
    link_up = Flag(control, 1 << 6)
    reset = Flag(control, 1 << 26)
    status = Register(0x0008)
    has_link = Flag(status, 1 << 1)
    phy = Register(0x0020)  # one register of the PHY's at a time
    phy_done = Flag(phy, 1 << 28)
    interrupt_cause = Register(0x00C0)  # reading it clears it
    interrupt_enable = Register(0x00D0)
    interrupt_disable = Register(0x00D8)
    receive_control = Register(0x0100)
    transmit_control = Register(0x0400)
    receive_filter = Register(0x5008)
    address_low = Register(0x5400)
    address_high = Register(0x5404)


class RingRegisters(vfio.RegisterMap):
    """The registers of one ring, wherever they are."""

    base_low = Register(0x00)
    base_high = Register(0x04)
    length = Register(0x08)
    split_control = Register(0x0C)
    head = Register(0x10)
    tail = Register(0x18)
    control = Register(0x28)


class Family(NamedTuple):
    """How the two differ: where the rings are, and the form of their descriptors."""

    receive_ring: int
    transmit_ring: int
    advanced: bool


FAMILIES = {0x10D3: Family(0x2800, 0x3800, False), 0x10C9: Family(0xC000, 0xE000, True)}
QUEUE_ENABLE = 1 << 25  # advanced: rings are turned on one by one
EXTENDED = 1 << 15  # not advanced: of the receive filter, for descriptors as the others have
ONE_BUFFER = 1 << 25 | FRAME_SIZE >> 10  # advanced: of a receive ring's split control
DATA = 1 << 29 | 3 << 20  # advanced: the kind of a descriptor


class Ring:
    """Descriptors, and a buffer for the frame of each."""

    def __init__(self, dev: vfio.PciDevice, registers: RingRegisters) -> None:
        self.registers = registers
        self.descriptors = dev.dma.alloc(ENTRIES * 16)
        self.words = self.descriptors.view.cast("I")
        self.frames = dev.dma.alloc(ENTRIES * FRAME_SIZE)
        self.next = 0
        registers.base_low = self.descriptors.iova & 0xFFFFFFFF
        registers.base_high = self.descriptors.iova >> 32
        registers.length = ENTRIES * 16
        registers.head = registers.tail = 0

    def fill(self, index: int, third: int, fourth: int) -> None:
        """Write a descriptor: its buffer's address, and what depends on its kind."""
        address = self.frames.iova + index * FRAME_SIZE
        struct.pack_into("<QII", self.descriptors.view, index * 16, address, third, fourth)

    def frame(self, index: int, size: int) -> memoryview:
        return self.frames.view[index * FRAME_SIZE : index * FRAME_SIZE + size]


class Nic:
    """A NIC that is on, with its link up."""

    def __init__(self, dev: vfio.PciDevice) -> None:
        family = FAMILIES.get(dev.config.device_id)
        if dev.config.vendor_id != 0x8086 or family is None:
            found = f"{dev.config.vendor_id:04x}:{dev.config.device_id:04x}"
            raise NicError(f"{dev.name} is neither an 82574L nor an 82576, but {found}")
        self.dev, self.family = dev, family
        bar = dev.bars[0].map()
        self.registers = registers = Registers(bar)
        registers.interrupt_disable = 0xFFFFFFFF
        registers.reset = True
        self.wait("reset itself", lambda: not registers.reset)
        registers.interrupt_disable = 0xFFFFFFFF
        registers.link_up = True
        registers.phy = NEGOTIATE
        self.wait("talk to its PHY", lambda: registers.phy_done)
        low, high = registers.address_low, registers.address_high & 0xFFFF
        self.address = struct.pack("<IH", low, high)
        kind = dev.msi if dev.msi.count else dev.intx
        (self.interrupt,) = kind.enable(1)
        self.receiver = Ring(dev, RingRegisters(bar, family.receive_ring, 0x40))
        self.transmitter = Ring(dev, RingRegisters(bar, family.transmit_ring, 0x40))
        self.turn_on()
        self.wait("get a link", lambda: registers.has_link)

    def wait(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise NicError(f"{self.dev.name} does not {what}")
            time.sleep(0.01)

    def turn_on(self) -> None:
        """Start both directions (chapters 4.6.5 and 4.6.6, or 4.5.9 and 4.5.10)."""
        registers, receiver, transmitter = self.registers, self.receiver, self.transmitter
        if self.family.advanced:
            receiver.registers.split_control = ONE_BUFFER
            receiver.registers.control |= QUEUE_ENABLE
            transmitter.registers.control |= QUEUE_ENABLE
        else:
            registers.receive_filter |= EXTENDED
        registers.interrupt_enable = SENT | OVERRUN | RECEIVED
        registers.transmit_control |= TRANSMIT | PAD
        registers.receive_control = RECEIVE | BROADCAST | STRIP_CHECKSUM
        for index in range(ENTRIES):
            receiver.fill(index, 0, 0)
        receiver.registers.tail = ENTRIES - 1  # a full ring would look empty

    async def until(self, done: Callable[[], int]) -> None:
        """Wait for interrupts until something is done."""
        while not done():
            await self.interrupt.wait_async()
            self.registers.interrupt_cause  # noqa: B018
            if self.interrupt.automasked:
                self.interrupt.unmask()

    async def send(self, frame: bytes) -> None:
        """Send a frame, from its destination's address to the end of its data."""
        ring, index = self.transmitter, self.transmitter.next
        ring.frame(index, len(frame))[:] = frame
        command = len(frame) | END | CHECKSUM | REPORT
        if self.family.advanced:
            ring.fill(index, command | DATA, len(frame) << 14)
        else:
            ring.fill(index, command, 0)
        ring.next = (index + 1) % ENTRIES
        ring.registers.tail = ring.next
        await self.until(lambda: ring.words[index * 4 + 3] & DONE)

    async def receive(self) -> bytes:
        """The next frame that came."""
        ring, index = self.receiver, self.receiver.next
        await self.until(lambda: ring.words[index * 4 + 2] & DONE)
        size = ring.words[index * 4 + 3] & 0xFFFF
        frame = bytes(ring.frame(index, size))
        ring.fill(index, 0, 0)
        ring.next = (index + 1) % ENTRIES
        ring.registers.tail = index
        return frame


IP, ARP = b"\x08\x00", b"\x08\x06"
REQUEST, REPLY = b"\0\1", b"\0\2"


class Host:
    """Just enough of a network stack to ping: ARP (RFC 826) and ICMP echo (RFC 792)."""

    def __init__(self, nic: Nic, address: bytes) -> None:
        self.nic = nic
        self.address = address

    async def resolve(self, target: bytes) -> bytes:
        """The Ethernet address of an IP address."""
        header = struct.pack(">HHBB", 1, 0x0800, 6, 4) + REQUEST
        question = header + self.nic.address + self.address + bytes(6) + target
        await self.nic.send(b"\xff" * 6 + self.nic.address + ARP + question)
        while True:
            frame = await self.nic.receive()
            if frame[12:14] == ARP and frame[20:22] == REPLY and frame[28:32] == target:
                return frame[22:28]

    async def ping(self, hardware: bytes, target: bytes, sequence: int) -> int:
        """Send an echo request, and wait for its reply; tells its bytes of data."""
        data = os.urandom(32)
        echo = struct.pack(">HH", os.getpid() & 0xFFFF, sequence) + data
        message = b"\x08\0" + checksum(b"\x08\0\0\0" + echo) + echo
        header = struct.pack(">BBHHHBB", 0x45, 0, 20 + len(message), 0, 0, 64, 1)
        ends = self.address + target
        packet = header + checksum(header + b"\0\0" + ends) + ends + message
        await self.nic.send(hardware + self.nic.address + IP + packet)
        while True:
            frame = await self.nic.receive()
            if frame[12:14] != IP or frame[26:30] != target or frame[34] != 0:
                continue
            if frame[38 : 38 + len(echo)] == echo:
                return len(data)


def checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", total ^ 0xFFFF)


async def run(nic: Nic, address: str, target: str, count: int) -> None:
    print(f"{nic.dev.name}: {nic.address.hex(':')}, link up")
    host, there = Host(nic, ipaddress.IPv4Address(address).packed), ipaddress.IPv4Address(target)
    try:
        async with asyncio.timeout(PATIENCE):
            hardware = await host.resolve(there.packed)
        print(f"{target} is at {hardware.hex(':')}")
        for sequence in range(1, count + 1):
            begun = time.perf_counter()
            async with asyncio.timeout(PATIENCE):
                size = await host.ping(hardware, there.packed, sequence)
            took = (time.perf_counter() - begun) * 1000
            print(f"{size} bytes back from {target}: sequence {sequence}, {took:.2f} ms")
    except TimeoutError:
        raise NicError(f"{target} does not answer") from None


def main() -> None:
    parser = argparse.ArgumentParser(description="Ping through a NIC, without the kernel.")
    parser.add_argument("where", help="its PCI address (0000:03:00.0), or a vfio-user socket")
    parser.add_argument("--address", default="10.0.2.15", help="its own IP address (10.0.2.15)")
    parser.add_argument("--ping", default="10.0.2.2", metavar="HOST", help="whom (10.0.2.2)")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="how often (3)")
    options = parser.parse_args()
    try:
        with vfio.open(options.where) as dev:
            asyncio.run(run(Nic(dev), options.address, options.ping, options.count))
    except (vfio.VfioError, ipaddress.AddressValueError) as error:
        sys.exit(f"nic.py: error: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it, and no traceback tells
    main()
