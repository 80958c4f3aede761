# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Registers by name: a class says where they are, its objects read and write them.

    class Edu(RegisterMap):
        identification = Register(0x00)
        status = Register(0x20)
        computing = Flag(status, 0x01)

    edu = Edu(dev.bars[0].map())
    while edu.computing: ...

Each use of a name is one access. Setting a field of a register is two: it is read, changed,
and written back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, overload

from .window import Window


class Register:
    """A register of `width` bytes at `offset` in its window.

    `write_1_to_clear` has the bits that a 1 clears: setting fields beside them writes them as 0.
    """

    __slots__ = ("fields", "offset", "width", "write_1_to_clear")

    def __init__(self, offset: int, width: int = 4, *, write_1_to_clear: int = 0) -> None:
        self.offset = offset
        self.width = width
        self.write_1_to_clear = write_1_to_clear
        self.fields: dict[str, Field | Flag] = {}

    @overload
    def __get__(self, window: None, owner: type) -> Self: ...
    @overload
    def __get__(self, window: Window, owner: type) -> int: ...
    def __get__(self, window: Window | None, owner: type) -> Self | int:
        if window is None:
            return self
        return window.words(self.width)[self.offset]

    def __set__(self, window: Window, value: int) -> None:
        window.words(self.width)[self.offset] = value


class Field:
    """Bits of a register that are a number, with `mask` over them in place."""

    __slots__ = ("mask", "register", "shift")

    def __init__(self, register: Register, mask: int) -> None:
        self.register = register
        self.mask = mask
        self.shift = (mask & -mask).bit_length() - 1

    def __set_name__(self, owner: type, name: str) -> None:
        self.register.fields[name] = self

    def of(self, value: int) -> int:
        """The field's value in one of the register."""
        return (value & self.mask) >> self.shift

    @overload
    def __get__(self, window: None, owner: type) -> Self: ...
    @overload
    def __get__(self, window: Window, owner: type) -> int: ...
    def __get__(self, window: Window | None, owner: type) -> Self | int:
        return self if window is None else self.of(self.register.__get__(window, owner))

    def __set__(self, window: Window, value: int) -> None:
        """Raises ValueError if the value has more bits than the field."""
        if value < 0 or value << self.shift & ~self.mask:
            raise ValueError(f"{value:#x} doesn't fit into a field with mask {self.mask:#x}")
        register = self.register
        kept = register.__get__(window, type(window)) & ~self.mask & ~register.write_1_to_clear
        register.__set__(window, kept | value << self.shift)


class Flag:
    """One bit of a register, as a bool."""

    __slots__ = ("_field", "mask", "register")

    def __init__(self, register: Register, mask: int) -> None:
        self._field = Field(register, mask)
        self.register = register
        self.mask = mask

    def __set_name__(self, owner: type, name: str) -> None:
        self.register.fields[name] = self

    def of(self, value: int) -> bool:
        """Whether it is set in a value of the register."""
        return bool(value & self.mask)

    @overload
    def __get__(self, window: None, owner: type) -> Self: ...
    @overload
    def __get__(self, window: Window, owner: type) -> bool: ...
    def __get__(self, window: Window | None, owner: type) -> Self | bool:
        return self if window is None else bool(self._field.__get__(window, owner))

    def __set__(self, window: Window, value: bool) -> None:
        self._field.__set__(window, int(value))


def named_registers(window: Window) -> list[tuple[str, Register]]:
    """The registers that the window's class names and that lie inside it, by their offsets."""
    found = {
        name: value
        for kind in reversed(type(window).__mro__)
        for name, value in vars(kind).items()
        if isinstance(value, Register) and value.offset + value.width <= window.size
    }
    return sorted(found.items(), key=lambda named: named[1].offset)


class Named:
    """Has the attributes that its class declares, and takes no others: they'd be slips.

    Those that begin with an underscore are free.
    """

    if not TYPE_CHECKING:  # which would take it that any name is right

        def __setattr__(self, name: str, value: object) -> None:
            """Raises AttributeError for what is neither a register nor else known to the class."""
            kind = type(self)
            if not (
                name[:1] == "_"
                or hasattr(kind, name)
                or any(name in getattr(base, "__annotations__", ()) for base in kind.__mro__)
            ):
                raise AttributeError(
                    f"{kind.__name__} has no register {name!r}, nor declares it (`{name}: ...`)",
                    name=name,
                    obj=self,
                )
            super().__setattr__(name, value)


class RegisterMap(Named, Window):
    """Part of another window, with names: derive from it, and declare Registers on the class."""

    def __init__(self, window: Window, base: int = 0, size: int | None = None) -> None:
        """From `base` on, `size` bytes or all that there are. Raises ValueError."""
        size = window.size - base if size is None else size
        if base < 0 or base % 4 or not 0 <= size <= window.size - base:
            raise ValueError(f"{window.name} has no {size:#x} bytes of registers at {base:#x}")
        self._base = base
        self._window = window
        super().__init__(window.name, size)

    def load(self, offset: int, width: int) -> int:
        return self._window.words(width)[self._base + offset]

    def store(self, offset: int, width: int, value: int) -> None:
        self._window.words(width)[self._base + offset] = value
