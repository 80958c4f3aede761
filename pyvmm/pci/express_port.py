# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""ExpressPort: the PCI Express capability of a root port, its link and its slot.

Source: PCI Express Base 6.0, section 7.5.3.
"""

from __future__ import annotations

from typing import NamedTuple

from pyvmm.uapi.pci_regs import (
    PCI_CAP_ID_EXP,
    PCI_EXP_DEVCAP,
    PCI_EXP_DEVCAP_RBER,
    PCI_EXP_DEVCTL,
    PCI_EXP_DEVCTL_PAYLOAD,
    PCI_EXP_DEVSTA,
    PCI_EXP_FLAGS,
    PCI_EXP_FLAGS_SLOT,
    PCI_EXP_LNKCAP,
    PCI_EXP_LNKCAP2,
    PCI_EXP_LNKCAP2_SLS,
    PCI_EXP_LNKCAP_DLLLARC,
    PCI_EXP_LNKCAP_SLS_64_0GB,
    PCI_EXP_LNKCTL,
    PCI_EXP_LNKCTL2,
    PCI_EXP_LNKCTL2_TLS,
    PCI_EXP_LNKCTL_ASPMC,
    PCI_EXP_LNKCTL_CCC,
    PCI_EXP_LNKCTL_ES,
    PCI_EXP_LNKCTL_LD,
    PCI_EXP_LNKSTA,
    PCI_EXP_LNKSTA_CLS,
    PCI_EXP_LNKSTA_CLS_2_5GB,
    PCI_EXP_LNKSTA_DLLLA,
    PCI_EXP_LNKSTA_NLW,
    PCI_EXP_LNKSTA_NLW_X1,
    PCI_EXP_LNKSTA_SLC,
    PCI_EXP_RTCTL,
    PCI_EXP_SLTCAP,
    PCI_EXP_SLTCTL,
    PCI_EXP_SLTCTL_DLLSCE,
    PCI_EXP_SLTSTA,
    PCI_EXP_SLTSTA_DLLSC,
    PCI_EXP_SLTSTA_PDC,
    PCI_EXP_SLTSTA_PDS,
    PCI_EXP_TYPE_ROOT_PORT,
)
from pyvmm.vfio.pci_capabilities import capabilities

from .config_space import ConfigSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .bus import Function

_SIZE = 60
_VERSION = 2
_FLAGS = _VERSION | PCI_EXP_TYPE_ROOT_PORT << 4 | PCI_EXP_FLAGS_SLOT
_PAYLOAD_4096 = 5
_WIDTH_X16 = 16 << 4
_ERRORS = 0xF  # correctable, non-fatal and fatal ones, and unsupported requests
_LINK_CONTROL = PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_LD | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES
_PORT_NUMBER_SHIFT, _SLOT_NUMBER_SHIFT = 24, 19

# Register, its bytes, its value, what of it is writable, what write-1-to-clear.
_REGISTERS = (
    (PCI_EXP_FLAGS, 2, _FLAGS, 0, 0),
    (PCI_EXP_DEVCAP, 4, _PAYLOAD_4096 | PCI_EXP_DEVCAP_RBER, 0, 0),
    (PCI_EXP_DEVCTL, 2, 0, _ERRORS | PCI_EXP_DEVCTL_PAYLOAD, 0),
    (PCI_EXP_DEVSTA, 2, 0, 0, _ERRORS),
    (PCI_EXP_LNKCAP, 4, PCI_EXP_LNKCAP_SLS_64_0GB | _WIDTH_X16 | PCI_EXP_LNKCAP_DLLLARC, 0, 0),
    (PCI_EXP_LNKCTL, 2, 0, _LINK_CONTROL, 0),
    (PCI_EXP_SLTCAP, 4, 0, 0, 0),
    (PCI_EXP_SLTCTL, 2, 0, PCI_EXP_SLTCTL_DLLSCE, 0),
    (PCI_EXP_SLTSTA, 2, 0, 0, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC),
    (PCI_EXP_RTCTL, 2, 0, _ERRORS, 0),
    (PCI_EXP_LNKCAP2, 4, PCI_EXP_LNKCAP2_SLS & 0x7F, 0, 0),
    (PCI_EXP_LNKCTL2, 2, PCI_EXP_LNKCAP_SLS_64_0GB, PCI_EXP_LNKCTL2_TLS, 0),
)

_LINK = PCI_EXP_LNKSTA_CLS | PCI_EXP_LNKSTA_NLW
_SLOWEST_LINK = PCI_EXP_LNKSTA_CLS_2_5GB | PCI_EXP_LNKSTA_NLW_X1


class Link(NamedTuple):
    """What a device's registers say of its link."""

    status: int
    """How fast and wide it is"""
    payload: int
    """The bits of device control for how large its packets are"""


_NO_EXPRESS = Link(_SLOWEST_LINK, 0)


def link_of(device: Function) -> Link:
    """As one function of the device has it."""
    read = device.config_read
    for capability in capabilities(read):
        if capability.id == PCI_CAP_ID_EXP:
            at = capability.offset
            return Link(
                read(at + PCI_EXP_LNKSTA, 2) & _LINK or _SLOWEST_LINK,
                read(at + PCI_EXP_DEVCTL, 2) & PCI_EXP_DEVCTL_PAYLOAD,
            )
    return _NO_EXPRESS


class ExpressPort:
    """The capability in a root port's configuration space.

    The port can do what any device can, so that a guest finds the link as fast and as wide as the
    device says it is, and has to change the payload of neither. The slot tells whether a device is
    there, and whether its link has come or gone; it is not hot-plug capable, so nobody is
    interrupted by that. Power management, errors and bandwidth are no events here.
    """

    def __init__(self, config: ConfigSpace, number: int) -> None:
        """number, 1 to 255, is that of the port and of its slot."""
        self._config = config
        self._offset = offset = config.add_capability(PCI_CAP_ID_EXP, bytes(_SIZE - 2))
        self._status = 0  # of the link, while it is up
        self.occupied = False
        """There is a device in the slot."""
        for register, size, value, writable, write_1_to_clear in _REGISTERS:
            at = offset + register
            config.data[at : at + size] = value.to_bytes(size, "little")
            config.make_writable(at, size, writable)
            config.make_write_1_to_clear(at, size, write_1_to_clear)
        for register, shift in (
            (PCI_EXP_LNKCAP, _PORT_NUMBER_SHIFT),
            (PCI_EXP_SLTCAP, _SLOT_NUMBER_SHIFT),
        ):
            value = config.u32(offset + register)
            config.set_u32(offset + register, value | number << shift)

    @property
    def disabled(self) -> bool:
        """The guest has the link switched off."""
        return bool(self._config.u16(self._offset + PCI_EXP_LNKCTL) & PCI_EXP_LNKCTL_LD)

    def plug(self, link: Link | None) -> None:
        """A device with this link is in the slot now, or nothing."""
        config, offset = self._config, self._offset
        self.occupied = link is not None
        status, payload = link or _NO_EXPRESS
        self._status = status | PCI_EXP_LNKSTA_DLLLA | PCI_EXP_LNKSTA_SLC
        control = config.u16(offset + PCI_EXP_DEVCTL) & ~PCI_EXP_DEVCTL_PAYLOAD
        config.set_u16(offset + PCI_EXP_DEVCTL, control | payload)
        config.set_u16(offset + PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_PDS if self.occupied else 0)
        # The link has been trained by the time that anybody looks.
        config.set_u16(offset + PCI_EXP_LNKSTA, self._status if self.occupied else 0)

    def tell_of_change(self) -> None:
        """Set the events of a device that has come, or gone, and of its link."""
        at = self._offset + PCI_EXP_SLTSTA
        events = PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC
        self._config.set_u16(at, self._config.u16(at) | events)

    def set_link(self, up: bool) -> None:
        """The link is up, or down."""
        config, offset = self._config, self._offset
        before, after = config.u16(offset + PCI_EXP_LNKSTA), self._status if up else 0
        if (before ^ after) & PCI_EXP_LNKSTA_DLLLA:
            events = config.u16(offset + PCI_EXP_SLTSTA) | PCI_EXP_SLTSTA_DLLSC
            config.set_u16(offset + PCI_EXP_SLTSTA, events)
        config.set_u16(offset + PCI_EXP_LNKSTA, after)
