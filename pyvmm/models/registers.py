# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Registers of a device, declared as attributes of its Model, with side effects as methods.

    class Timer(Model):
        bar0 = Bar(0, 4096)

        CONTROL = bar0.register(0x00, writable=0x3)
        COUNT = bar0.register(0x04, "ro", reset=100)

        @CONTROL.on_write
        def control(self, value: int) -> None:
            self.CONTROL = value
            if value & START:
                self.call_later(self.COUNT / 1000, self.expired)

In methods of the model a register is a plain int, which may be read and assigned whatever the
guest may do with it. On the class it is the Register itself: its name, offset and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

if TYPE_CHECKING:
    from .model_device import ModelDevice

Access = Literal["rw", "ro", "wo", "w1c"]

_ReadMethod = TypeVar("_ReadMethod", bound=Callable[[Any], int])
_WriteMethod = TypeVar("_WriteMethod", bound=Callable[[Any, int], None])


class Register:
    """One register of a BAR; `Bar.register` makes them."""

    def __init__(
        self,
        offset: int,
        access: Access,
        *,
        width: int,
        reset: int,
        writable: int,
        sizes: tuple[int, ...],
        partial: bool,
    ) -> None:
        self.name = f"{offset:#x}"
        self.offset = offset
        self.access = access
        self.width = width
        self.reset = reset
        self.writable = writable
        self.sizes = sizes
        self.partial = partial
        self._mask = (1 << 8 * width) - 1
        self._on_read: Callable[[Any], int] | None = None
        self._on_write: Callable[[Any, int], None] | None = None

    def on_read(self, method: _ReadMethod) -> _ReadMethod:
        """Decorate the method whose result the guest reads, instead of the register's value."""
        self._on_read = method
        return method

    def on_write(self, method: _WriteMethod) -> _WriteMethod:
        """Decorate the method that is called with the value that the guest's write leads to
        (masks, write-1-to-clear and narrower writes are worked in), instead of storing it.
        """
        self._on_write = method
        return method

    def accesses(self) -> list[tuple[int, int]]:
        """Every (offset in the register, size) that the guest may use, in bytes."""
        return [
            (at, size)
            for size in self.sizes
            for at in (range(0, self.width, size) if self.partial else (0,))
        ]

    def read(self, model: ModelDevice, at: int, size: int) -> int | None:
        """The guest's read; None if there is nothing to read."""
        if self.access == "wo":
            return None
        value = self._on_read(model) if self._on_read else model.values[self]
        return value >> 8 * at & (1 << 8 * size) - 1

    def write(self, model: ModelDevice, at: int, size: int, value: int) -> bool:
        """The guest's write; False if there is nothing to write."""
        if self.access == "ro":
            return False
        old = model.values[self]
        touched = (1 << 8 * size) - 1 << 8 * at if self.partial else self._mask
        touched &= self.writable
        value <<= 8 * at
        if self.access == "w1c":
            value = old & ~(value & touched)
        else:
            value = old & ~touched | value & touched
        if self._on_write:
            self._on_write(model, value)
        else:
            model.values[self] = value
        return True

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, model: None, owner: type) -> Register: ...

    @overload
    def __get__(self, model: ModelDevice, owner: type) -> int: ...

    def __get__(self, model: ModelDevice | None, owner: type) -> int | Register:
        return self if model is None else model.values[self]

    def __set__(self, model: ModelDevice, value: int) -> None:
        model.values[self] = value & self._mask

    def __repr__(self) -> str:
        return f"<{self.name} at {self.offset:#x}, {self.width} bytes, {self.access}>"


class Doorbell:
    """A write-only place that makes something happen, whatever is written to it.

    It is offered to the VMM as an ioeventfd, so ringing it need not pass through Python there.
    `Bar.doorbell` makes them.
    """

    def __init__(self, offset: int, size: int) -> None:
        self.name = f"{offset:#x}"
        self.offset = offset
        self.size = size
        self._on_ring: Callable[[Any, int], None] | None = None

    def on_ring(self, method: _WriteMethod) -> _WriteMethod:
        """Decorate the method that is called with how often it was rung since the last call."""
        self._on_ring = method
        return method

    def ring(self, model: ModelDevice, times: int) -> None:
        if self._on_ring:
            self._on_ring(model, times)

    def read(self, model: ModelDevice, at: int, size: int) -> int | None:
        return None

    def write(self, model: ModelDevice, at: int, size: int, value: int) -> bool:
        self.ring(model, 1)
        return True

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
