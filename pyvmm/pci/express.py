# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The PCI Express capability of an assigned function, fitted to where the function sits.

What is an endpoint on the host's link may sit on the guest's root bus, and the other way round.
Guests judge by type: Linux looks for the port above an endpoint, and Windows won't start a device
whose type can't be where it is.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyvmm.uapi.pci_regs import (
    PCI_EXP_DEVCAP,
    PCI_EXP_DEVCAP_FLR,
    PCI_EXP_FLAGS,
    PCI_EXP_FLAGS_TYPE,
    PCI_EXP_FLAGS_VERS,
    PCI_EXP_TYPE_ENDPOINT,
    PCI_EXP_TYPE_LEG_END,
    PCI_EXP_TYPE_RC_END,
)

from .config_space import ConfigSpace
from .config_table import (
    BEHIND_PORT,
    BEHIND_PORT_2,
    EXPRESS,
    EXPRESS_2,
    EXPRESS_VERSION,
    INTEGRATED_BEHIND_PORT,
    NO_FLR,
    ON_ROOT_BUS,
    ON_ROOT_BUS_2,
)
from .config_view import Row, rows_at
from .errors import BadDevice

SMALLEST = 12
"""Bytes that each has: up to the link's registers."""


class Express:
    """One function's capability."""

    def __init__(self, name: str, snapshot: ConfigSpace, at: int, end: int, flr: bool) -> None:
        """It lies at [at, end); flr: whether the device can be reset at all.

        Raises BadDevice for what can't be assigned; name is for that.
        """
        flags = snapshot.u16(at + PCI_EXP_FLAGS)
        self.at = at
        self.end = end
        self._type = (flags & PCI_EXP_FLAGS_TYPE) >> 4
        self._version = flags & PCI_EXP_FLAGS_VERS
        if self._type not in (PCI_EXP_TYPE_ENDPOINT, PCI_EXP_TYPE_LEG_END, PCI_EXP_TYPE_RC_END):
            raise BadDevice(
                f"{name} is no endpoint (PCI Express type {self._type:#x}) but a part of the "
                "host's own PCI hierarchy"
            )
        self.flr = flr and bool(snapshot.u32(at + PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR)
        """Whether the guest is told that it can reset the function."""

    def shown(self, on_root_bus: bool) -> bool:
        """Whether it can be there at all. What it says decides over the extended space, too.

        Legacy endpoints belong behind ports (PCI Express Base 6.0, section 1.3.2.1); on the root
        bus they are conventional functions.
        """
        return not (on_root_bus and self._type == PCI_EXP_TYPE_LEG_END)

    def rows(self, on_root_bus: bool) -> Iterator[Row]:
        """Its rows, in configuration space."""
        return rows_at(self._rows(on_root_bus), self.at, self.end)

    def _rows(self, on_root_bus: bool) -> Iterator[Row]:
        newer = self._version > 1
        yield EXPRESS_VERSION._replace(value=max(self._version, 1))
        yield from EXPRESS
        if newer:
            yield from EXPRESS_2
        if not self.flr:
            yield from NO_FLR
        if on_root_bus:
            if self._type == PCI_EXP_TYPE_ENDPOINT:
                yield from ON_ROOT_BUS
                if newer:
                    yield from ON_ROOT_BUS_2
        elif self._type == PCI_EXP_TYPE_RC_END:
            yield from INTEGRATED_BEHIND_PORT
        else:
            yield from BEHIND_PORT
            if newer:
                yield from BEHIND_PORT_2
