# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The capabilities of a vfio.Device: which the guest sees, and which of them are emulated.

config_table.py says it of each kind; one that it doesn't name is shown as it is. Chains are the
device's word. A capability's registers end where the next one begins, so that none is another's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from pyvmm.uapi.pci_regs import (
    PCI_AF_CAP,
    PCI_AF_CAP_FLR,
    PCI_AF_CAP_TP,
    PCI_AF_CTRL,
    PCI_AF_CTRL_FLR,
    PCI_CAP_AF_SIZEOF,
    PCI_CAP_EXP_ENDPOINT_SIZEOF_V2,
    PCI_CAP_ID_AF,
    PCI_CAP_ID_EXP,
    PCI_CAP_ID_MSI,
    PCI_CAP_ID_MSIX,
    PCI_CAP_ID_PM,
    PCI_CAP_LIST_NEXT,
    PCI_CAP_MSIX_SIZEOF,
    PCI_CAPABILITY_LIST,
    PCI_CFG_SPACE_EXP_SIZE,
    PCI_CFG_SPACE_SIZE,
    PCI_EXP_DEVCTL,
    PCI_EXP_DEVCTL_BCR_FLR,
    PCI_MSI_FLAGS,
    PCI_MSIX_FLAGS,
    PCI_MSIX_PBA,
    PCI_MSIX_TABLE,
    PCI_PM_CTRL,
    PCI_PM_SIZEOF,
    PCI_STATUS,
    PCI_STATUS_CAP_LIST,
    PCI_STD_NUM_BARS,
)
from pyvmm.uapi.vfio import VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
from pyvmm.vfio import Device, Interval, VfioError
from pyvmm.vfio.pci_capabilities import CapabilityHeader, capabilities, extended_capabilities

from .config_space import ConfigSpace
from .config_table import CONVENTIONAL, EXTENDED, HEADER, MSI, MSIX, NO_AF_FLR, Seen
from .config_view import FIXED, READ_ONLY, ConfigView, Row, rows_at
from .errors import BadDevice
from .express import SMALLEST as EXPRESS_SMALLEST
from .express import Express
from .interfaces import InterruptVm
from .msi import Msi
from .msi import capability_size as msi_size
from .msix import Msix
from .vectors import HostVectors

_ONCE = (PCI_CAP_ID_PM, PCI_CAP_ID_MSI, PCI_CAP_ID_EXP, PCI_CAP_ID_MSIX, PCI_CAP_ID_AF)
"""There is but one of each in a function: nobody would look at a second one."""


class DeviceCapabilities:
    """A device's capabilities, as the guest sees them."""

    def __init__(
        self, device: Device, config: ConfigSpace, snapshot: ConfigSpace, vm: InterruptVm
    ) -> None:
        """Declare them in config; snapshot holds the device's own registers.

        MSI and MSI-X without a single vector that the device could signal are hidden. Raises
        BadDevice, VfioError.
        """
        self.msi: Msi | None = None
        self.msix: Msix | None = None
        self.has_pba = False
        """The pending bits of MSI-X are where they can be."""
        self.power_control = 0
        """Where the register is that has the power state; 0 if there is none."""
        self.reset_bits: list[tuple[int, int]] = []
        """(offset of a byte, mask) of the bits by which the guest resets the function."""
        self._device = device
        self._config = config
        self._snapshot = snapshot
        self._vm = vm
        self._express: Express | None = None
        self._chain = capabilities(snapshot.read)
        self._hidden: set[int] = set()
        self._rows: list[Row] = [*HEADER]
        met: set[int] = set()
        for (kind, at, _), end in zip(self._chain, _ends(self._chain), strict=True):
            seen = CONVENTIONAL.get(kind, Seen())
            again = kind in _ONCE and kind in met
            met.add(kind)
            if kind == 0 or seen.hidden or again:
                self._hide(at, end, seen.size)
            else:
                self._add(kind, at, end, seen)

    def _hide(self, at: int, end: int, size: int) -> None:
        self._hidden.add(at)
        self._rows.append(_unwritable(at, min(end, at + size)))

    def _add(self, kind: int, at: int, end: int, seen: Seen) -> None:
        device, snapshot = self._device, self._snapshot
        if kind == PCI_CAP_ID_MSI:
            self._add_msi(at, end)
            return
        if kind == PCI_CAP_ID_MSIX:
            self._add_msix(at, end)
            return
        if kind == PCI_CAP_ID_EXP:
            self._check_whole("PCI Express", at, end, EXPRESS_SMALLEST)
            self._express = Express(device.name, snapshot, at, end, device.info.resettable)
            return
        if kind == PCI_CAP_ID_PM:
            self._check_whole("power management", at, end, PCI_PM_SIZEOF)
            self.power_control = at + PCI_PM_CTRL
        elif kind == PCI_CAP_ID_AF:
            self._check_whole("advanced features", at, end, PCI_CAP_AF_SIZEOF)
            able = PCI_AF_CAP_TP | PCI_AF_CAP_FLR
            if device.info.resettable and snapshot.u8(at + PCI_AF_CAP) & able == able:
                self.reset_bits.append((at + PCI_AF_CTRL, PCI_AF_CTRL_FLR))
            else:
                self._rows += rows_at(NO_AF_FLR, at, end)
        self._rows += rows_at(seen.rows, at, end)

    def _check_whole(self, what: str, at: int, end: int, size: int) -> None:
        if at + size > end:
            raise BadDevice(f"{self._device.name}: its {what} capability at {at:#x} is cut off")

    def _add_msi(self, at: int, end: int) -> None:
        control = self._snapshot.u16(at + PCI_MSI_FLAGS)
        size = msi_size(control)
        host = HostVectors(self._device, VFIO_PCI_MSI_IRQ_INDEX, self._vm)
        if not host.size:
            self._hide(at, end, size)
            return
        self._check_whole("MSI", at, end, size)
        self.msi = Msi(self._config, at, control, host)
        flags, message = MSI
        message = message._replace(size=size - message.offset)
        self._rows += rows_at((flags, message), at, end)

    def _add_msix(self, at: int, end: int) -> None:
        """Its table and PBA have to be where they can be. Raises BadDevice, VfioError."""
        host = HostVectors(self._device, VFIO_PCI_MSIX_IRQ_INDEX, self._vm, self._held_back)
        if not host.size:
            self._hide(at, end, PCI_CAP_MSIX_SIZEOF)
            return
        self._check_whole("MSI-X", at, end, PCI_CAP_MSIX_SIZEOF)
        words = self._snapshot
        self.msix = msix = Msix(
            self._config,
            at,
            words.u16(at + PCI_MSIX_FLAGS),
            words.u32(at + PCI_MSIX_TABLE),
            words.u32(at + PCI_MSIX_PBA),
            host,
        )
        self._rows += rows_at(MSIX, at, end)
        size = self._bar_size(msix.table_region)
        if not Interval(0, size).covers(msix.table_area):
            raise BadDevice(
                f"{self._device.name}: its MSI-X table should be at {msix.table_area} of BAR "
                f"{msix.table_region}, which has {size:#x} bytes"
            )
        # Some virtual functions' isn't; drivers hardly ever look at it.
        self.has_pba = Interval(0, self._bar_size(msix.pba_region)).covers(msix.pba_area)

    def _held_back(self) -> list[int]:
        """The MSI-X vectors whose pending bits the device has set, as far as it tells."""
        msix = self.msix
        if msix is None or not self.has_pba:
            return []
        area = msix.pba_area
        try:
            bits = self._device.region_read(msix.pba_region, area.start, area.size)
        except VfioError:
            return []
        if not bits.strip(b"\xff"):
            return []  # all-ones is no answer
        return [v for v in range(msix.size) if bits[v // 8] >> v % 8 & 1]

    def _bar_size(self, index: int) -> int:
        return self._device.region_info(index).size if index < PCI_STD_NUM_BARS else 0

    # -- once the function has its place --------------------------------------------------------

    def view(self, on_root_bus: bool, config_size: int) -> ConfigView:
        """The whole configuration space of the function, on bus 0 or behind a port.

        config_size is how much of it the device has. The function stays where it is.
        """
        express, rows = self._express, self._rows
        if express is not None and express.shown(on_root_bus):
            rows += express.rows(on_root_bus)
            if express.flr:
                flr = (express.at + PCI_EXP_DEVCTL + 1, PCI_EXP_DEVCTL_BCR_FLR >> 8)
                self.reset_bits.append(flr)
        elif express is not None:
            self._hide(express.at, express.end, PCI_CAP_EXP_ENDPOINT_SIZEOF_V2)
            express = None
        rows += _pointers(self._chain, self._hidden)
        if express is None:
            # Without the capability a guest doesn't look for more than 256 bytes.
            return ConfigView(self._config, self._snapshot, rows, PCI_CFG_SPACE_SIZE)
        if config_size < PCI_CFG_SPACE_EXP_SIZE:
            rest = PCI_CFG_SPACE_EXP_SIZE - PCI_CFG_SPACE_SIZE
            rows.append(Row("extended space", PCI_CFG_SPACE_SIZE, rest, whose=FIXED, value=0))
        else:
            rows += _extended_rows(extended_capabilities(self._snapshot.read))
        return ConfigView(self._config, self._snapshot, rows, PCI_CFG_SPACE_EXP_SIZE)


def _ends(chain: Sequence[CapabilityHeader], limit: int = PCI_CFG_SPACE_SIZE) -> list[int]:
    """Where each of them ends: where another one begins, or the space ends."""
    following = dict(pairwise([*sorted(capability.offset for capability in chain), limit]))
    return [following[capability.offset] for capability in chain]


def _unwritable(at: int, end: int) -> Row:
    return Row("hidden capability", at, end - at, whose=READ_ONLY)


def _pointers(chain: Sequence[CapabilityHeader], hidden: Collection[int]) -> Iterator[Row]:
    """Link the conventional capabilities past those at hidden offsets.

    Ids and pointers are fixed, so that a guest can't be led in circles.
    """
    shown = [capability for capability in chain if capability.offset not in hidden]
    flag = PCI_STATUS_CAP_LIST
    yield Row("capability list", PCI_STATUS, 2, flag, FIXED, flag if shown else 0)
    first, *following = [*(capability.offset for capability in shown), 0]
    yield Row("capability pointer", PCI_CAPABILITY_LIST, 1, whose=FIXED, value=first)
    for (kind, at, _), target in zip(shown, following, strict=True):
        header = target << 8 * PCI_CAP_LIST_NEXT | kind
        yield Row("capability header", at, 2, whose=FIXED, value=header)


def _extended_rows(chain: Sequence[CapabilityHeader]) -> Iterator[Row]:
    """The rows of the extended capabilities, and the chain of those that are shown.

    Software begins at 0x100. What is hidden there leaves a null capability, which has no id but
    a pointer (PCI Express Base 6.0, chapter 7.9).
    """
    shown: list[CapabilityHeader] = []
    for capability, end in zip(chain, _ends(chain, PCI_CFG_SPACE_EXP_SIZE), strict=True):
        at = capability.offset
        seen = EXTENDED.get(capability.id, Seen())
        if seen.hidden:
            yield _unwritable(at, min(end, at + seen.size))
        else:
            shown.append(capability)
            yield from rows_at(seen.rows, at, end)
    if not shown or shown[0].offset != PCI_CFG_SPACE_SIZE:
        shown.insert(0, CapabilityHeader(0, PCI_CFG_SPACE_SIZE))
    following = [*(capability.offset for capability in shown[1:]), 0]
    for (kind, at, version), target in zip(shown, following, strict=True):
        header = target << 20 | version << 16 | kind
        yield Row("extended capability header", at, 4, whose=FIXED, value=header)
