# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""SavedState: a model's state in bytes, for another model of its kind, perhaps elsewhere.

Whoever sends it is not trusted: it is read by type, and nothing is restored of what doesn't fit
the model to the last byte. Parts have the names of their places, so that the order in which a
model declares them is nothing that has to stay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pyvmm.pci.config_space import ConfigSpace
from pyvmm.uapi.pci_regs import (
    PCI_CLASS_REVISION,
    PCI_COMMAND,
    PCI_COMMAND_INTX_DISABLE,
    PCI_VENDOR_ID,
)

from .interrupts import Interrupts
from .layout import Layout
from .regions import Ram
from .registers import Register

if TYPE_CHECKING:
    from .model_device import ModelDevice

_MAGIC = b"pyvmm model state 1\n"

MAX_OWN = 16 << 20
"""The most bytes that a model may add of its own."""


class SavedState(msgspec.Struct, forbid_unknown_fields=True):
    """All that there is; the interrupts' eventfds and the memory are the client's, and not in it.

    Registers and RAM are named after BAR and offset; pending vectors are bits.
    """

    identity: bytes
    version: int
    config: bytes
    registers: dict[str, int]
    ram: dict[str, bytes]
    intx: bool
    msi_pending: bytes
    msix_pending: bytes
    own: bytes


class States:
    """Takes states of one model, and puts them back. With the model's lock held."""

    def __init__(self, model: ModelDevice, layout: Layout, interrupts: Interrupts) -> None:
        self._model = model
        self._interrupts = interrupts
        self._registers = {
            f"{bar.index}+{register.offset:#x}/{register.width}": register
            for bar in layout.bars.values()
            for register in bar.registers
        }
        self._ram = {
            f"{index}+{area.interval.start:#x}": area
            for index, areas in layout.areas.items()
            for area in areas
            if isinstance(area, Ram)
        }
        self._vectors = layout.msi_vectors, layout.msix_vectors

    def most(self) -> int:
        """How many bytes a state of this model has at most, and then some."""
        ram = sum(area.interval.size for area in self._ram.values())
        names = 64 * (len(self._registers) + len(self._ram))
        return ram + names + self._model.config.size + MAX_OWN + 65536

    def take(self) -> bytes:
        """The state now, with what on_save() adds; whatever that raises."""
        model = self._model
        msi, msix = (
            _pack_vectors(messages.pending, vectors)
            for messages, vectors in zip(
                self._interrupts.messages.values(), self._vectors, strict=True
            )
        )
        own = bytes(model.on_save())
        if len(own) > MAX_OWN:
            raise ValueError(f"on_save() returned {len(own)} bytes, more than {MAX_OWN}")
        saved = SavedState(
            identity=_identity(model.config),
            version=model.state_version,
            config=bytes(model.config.data),
            registers={name: model.values[it] for name, it in self._registers.items()},
            ram={name: bytes(model.ram[it]) for name, it in self._ram.items()},
            intx=self._interrupts.intx.level,
            msi_pending=msi,
            msix_pending=msix,
            own=own,
        )
        return _MAGIC + msgspec.msgpack.encode(saved)

    def put(self, saved: SavedState) -> None:
        """Restore a state that has been checked, but for what is the model's own."""
        model, intx = self._model, self._interrupts.intx
        model.config.restore(saved.config)
        for name, register in self._registers.items():
            model.values[register] = saved.registers[name]
        for name, area in self._ram.items():
            model.ram[area][:] = saved.ram[name]
        intx.set_disabled(bool(model.config.u16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE))
        model.set_intx(saved.intx)
        pending = saved.msi_pending, saved.msix_pending
        for messages, bits in zip(self._interrupts.messages.values(), pending, strict=True):
            messages.pending = _unpack_vectors(bits)

    def check(self, saved: SavedState) -> None:
        """Make sure that a state is one of this model's. Raises ValueError."""
        config, version = self._model.config, self._model.state_version
        if saved.identity != _identity(config):
            raise ValueError(f"it is of another device ({saved.identity[:8].hex()})")
        if saved.version != version:
            raise ValueError(f"it is of version {saved.version}, and this model has {version}")
        if len(saved.config) != config.size:
            raise ValueError(f"it has {len(saved.config)} bytes of configuration space")
        if saved.registers.keys() != self._registers.keys():
            raise ValueError("it has other registers")
        for name, register in self._registers.items():
            _check_value(saved.registers[name], name, register)
        sizes = {name: len(content) for name, content in saved.ram.items()}
        if sizes != {name: area.interval.size for name, area in self._ram.items()}:
            raise ValueError("it has other RAM")
        pending = saved.msi_pending, saved.msix_pending
        for bits, count in zip(pending, self._vectors, strict=True):
            if len(bits) != _bitmap_size(count) or int.from_bytes(bits, "little") >> count:
                raise ValueError("it has pending vectors that there aren't")
        if len(saved.own) > MAX_OWN:
            raise ValueError(f"it has {len(saved.own)} bytes of the model's own")


def unpack(data: bytes | bytearray) -> SavedState:
    """Read a state, of whatever model. Raises ValueError, which tells what is wrong with it."""
    if not data.startswith(_MAGIC):
        raise ValueError("it is no state of a model, or of one of a pyvmm to come")
    try:
        return msgspec.msgpack.decode(memoryview(data)[len(_MAGIC) :], type=SavedState)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"it is damaged or incomplete: {error}") from None


def _identity(config: ConfigSpace) -> bytes:
    """Vendor, device, revision and class."""
    data = config.data
    vendor = data[PCI_VENDOR_ID : PCI_VENDOR_ID + 4]
    return bytes(vendor + data[PCI_CLASS_REVISION : PCI_CLASS_REVISION + 4])


def _check_value(value: int, name: str, register: Register) -> None:
    if not 0 <= value < 1 << 8 * register.width:
        raise ValueError(f"register {name} can't be {value:#x}")


def _bitmap_size(vectors: int) -> int:
    """Bytes for a bit for each vector."""
    return (vectors + 7) // 8


def _pack_vectors(pending: set[int], vectors: int) -> bytes:
    return sum(1 << vector for vector in pending).to_bytes(_bitmap_size(vectors), "little")


def _unpack_vectors(bits: bytes) -> set[int]:
    return {vector for vector in range(8 * len(bits)) if bits[vector // 8] >> vector % 8 & 1}
