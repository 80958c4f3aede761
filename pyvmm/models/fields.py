# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Fields of registers by name, in a model as in a driver's `pyvmm.vfio.RegisterMap`.

    CONTROL = bar0.register(0x00)
    ENABLE = Flag(CONTROL, 1 << 0)
    SPEED = Field(CONTROL, 0x7 << 4)

In methods of the model a field is a plain int and a flag a bool. Assigned, it changes its bits of
the register and nothing else: no side effects, whatever the guest may do with them. `of()` takes it
out of a value, such as the one that a register's on_write method is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from .registers import Register

if TYPE_CHECKING:
    from .model_device import ModelDevice


class Field:
    """Bits of a register that are a number, with `mask` over them in place."""

    __slots__ = ("mask", "name", "register", "shift")

    def __init__(self, register: Register, mask: int) -> None:
        """Raises ValueError if the register has no such bits."""
        if mask <= 0 or mask >> 8 * register.width:
            raise ValueError(f"{mask:#x} is no mask for the {register.width} bytes of a register")
        self.name = f"{mask:#x}"
        self.register = register
        self.mask = mask
        self.shift = (mask & -mask).bit_length() - 1

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def of(self, value: int) -> int:
        """The field's value in one of the register."""
        return (value & self.mask) >> self.shift

    @overload
    def __get__(self, model: None, owner: type) -> Field: ...
    @overload
    def __get__(self, model: ModelDevice, owner: type) -> int: ...
    def __get__(self, model: ModelDevice | None, owner: type) -> Field | int:
        return self if model is None else self.of(model.values[self.register])

    def __set__(self, model: ModelDevice, value: int) -> None:
        """Raises ValueError if the value has more bits than the field."""
        if value < 0 or value << self.shift & ~self.mask:
            raise ValueError(f"{value:#x} doesn't fit into {self.name}, mask {self.mask:#x}")
        kept = model.values[self.register] & ~self.mask
        model.values[self.register] = kept | value << self.shift


class Flag:
    """One bit of a register, as a bool."""

    __slots__ = ("mask", "register")

    def __init__(self, register: Register, mask: int) -> None:
        """Raises ValueError if `mask` is not one bit of the register."""
        if mask.bit_count() != 1 or mask >> 8 * register.width:
            raise ValueError(f"{mask:#x} is no bit of the {register.width} bytes of a register")
        self.register = register
        self.mask = mask

    def of(self, value: int) -> bool:
        """Whether it is set in a value of the register."""
        return bool(value & self.mask)

    @overload
    def __get__(self, model: None, owner: type) -> Flag: ...
    @overload
    def __get__(self, model: ModelDevice, owner: type) -> bool: ...
    def __get__(self, model: ModelDevice | None, owner: type) -> Flag | bool:
        return self if model is None else bool(model.values[self.register] & self.mask)

    def __set__(self, model: ModelDevice, value: bool) -> None:
        kept = model.values[self.register] & ~self.mask
        model.values[self.register] = kept | (self.mask if value else 0)
