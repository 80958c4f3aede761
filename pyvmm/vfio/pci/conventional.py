# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The conventional capabilities whose registers have names.

Layouts: PCI Express Base Specification, chapters 7.5.2, 7.5.3, 7.7.1, 7.7.2 and 7.9.
"""

from __future__ import annotations

from ...uapi import pci_regs as regs
from ..errors import BadAccess
from .capability import Capability
from .registers import Field, Flag, Register


class PowerManagement(Capability):
    """PCI Power Management: which states there are, and the one it is in."""

    capabilities = Register(regs.PCI_PM_PMC, 2)
    pm_version = Field(capabilities, regs.PCI_PM_CAP_VER_MASK)
    specific_initialization = Flag(capabilities, regs.PCI_PM_CAP_DSI)
    aux_current = Field(capabilities, regs.PCI_PM_CAP_AUX_POWER)
    d1 = Flag(capabilities, regs.PCI_PM_CAP_D1)
    d2 = Flag(capabilities, regs.PCI_PM_CAP_D2)
    pme_from = Field(capabilities, regs.PCI_PM_CAP_PME_MASK)

    control = Register(regs.PCI_PM_CTRL, 2, write_1_to_clear=regs.PCI_PM_CTRL_PME_STATUS)
    state = Field(control, regs.PCI_PM_CTRL_STATE_MASK)
    no_soft_reset = Flag(control, regs.PCI_PM_CTRL_NO_SOFT_RESET)
    pme_enable = Flag(control, regs.PCI_PM_CTRL_PME_ENABLE)
    pme_status = Flag(control, regs.PCI_PM_CTRL_PME_STATUS)


class VitalProductData(Capability):
    """A little memory with serial numbers and the like, read 4 bytes at a time."""

    address = Register(regs.PCI_VPD_ADDR, 2)
    done = Flag(address, regs.PCI_VPD_ADDR_F)
    data = Register(regs.PCI_VPD_DATA)


class Msi(Capability):
    """MSI; it is turned on by `dev.msi.enable`, not here."""

    control = Register(regs.PCI_MSI_FLAGS, 2)
    enable = Flag(control, regs.PCI_MSI_FLAGS_ENABLE)
    vectors_log2 = Field(control, regs.PCI_MSI_FLAGS_QMASK)
    enabled_vectors_log2 = Field(control, regs.PCI_MSI_FLAGS_QSIZE)
    wide = Flag(control, regs.PCI_MSI_FLAGS_64BIT)
    maskable = Flag(control, regs.PCI_MSI_FLAGS_MASKBIT)

    address_low = Register(regs.PCI_MSI_ADDRESS_LO)

    @property
    def address(self) -> int:
        """Where messages go."""
        high = self.u32[regs.PCI_MSI_ADDRESS_HI] if self.wide else 0
        return high << 32 | self.address_low

    @property
    def data(self) -> int:
        """The message of the first vector."""
        return self.u16[regs.PCI_MSI_DATA_64 if self.wide else regs.PCI_MSI_DATA_32]

    @property
    def mask(self) -> int:
        """A bit for each vector that is held back. Raises BadAccess if it is not maskable."""
        self._check_maskable()
        return self.u32[regs.PCI_MSI_MASK_64 if self.wide else regs.PCI_MSI_MASK_32]

    @property
    def pending(self) -> int:
        """A bit for each vector that waits for its mask. Raises BadAccess as `mask`."""
        self._check_maskable()
        return self.u32[regs.PCI_MSI_PENDING_64 if self.wide else regs.PCI_MSI_PENDING_32]

    def _check_maskable(self) -> None:
        if not self.maskable:
            raise BadAccess(f"{self.name}: its vectors can't be masked, so there is no mask")


class MsiX(Capability):
    """MSI-X; it is turned on by `dev.msix.enable`, not here."""

    control = Register(regs.PCI_MSIX_FLAGS, 2)
    last_vector = Field(control, regs.PCI_MSIX_FLAGS_QSIZE)
    function_mask = Flag(control, regs.PCI_MSIX_FLAGS_MASKALL)
    enable = Flag(control, regs.PCI_MSIX_FLAGS_ENABLE)

    table = Register(regs.PCI_MSIX_TABLE)
    table_bar = Field(table, regs.PCI_MSIX_TABLE_BIR)
    pending = Register(regs.PCI_MSIX_PBA)
    pending_bar = Field(pending, regs.PCI_MSIX_PBA_BIR)

    @property
    def table_offset(self) -> int:
        """In bytes, in BAR `table_bar`."""
        return self.table & regs.PCI_MSIX_TABLE_OFFSET

    @property
    def pending_offset(self) -> int:
        """In bytes, in BAR `pending_bar`."""
        return self.pending & regs.PCI_MSIX_PBA_OFFSET


class Vendor(Capability):
    """Whatever the vendor has put there."""

    length = Register(2, 1)

    @property
    def data(self) -> bytes:
        """What follows the length, as far as it is there."""
        return bytes(self.u8[at] for at in range(3, min(self.length, self.size)))


class Express(Capability):
    """PCI Express, as far as endpoints have it."""

    flags = Register(regs.PCI_EXP_FLAGS, 2)
    express_version = Field(flags, regs.PCI_EXP_FLAGS_VERS)
    type = Field(flags, regs.PCI_EXP_FLAGS_TYPE)
    message = Field(flags, regs.PCI_EXP_FLAGS_IRQ)

    device_capabilities = Register(regs.PCI_EXP_DEVCAP)
    max_payload_supported = Field(device_capabilities, regs.PCI_EXP_DEVCAP_PAYLOAD)
    extended_tags_supported = Flag(device_capabilities, regs.PCI_EXP_DEVCAP_EXT_TAG)
    role_based_errors = Flag(device_capabilities, regs.PCI_EXP_DEVCAP_RBER)
    function_level_reset = Flag(device_capabilities, regs.PCI_EXP_DEVCAP_FLR)

    device_control = Register(regs.PCI_EXP_DEVCTL, 2)
    correctable_enable = Flag(device_control, regs.PCI_EXP_DEVCTL_CERE)
    nonfatal_enable = Flag(device_control, regs.PCI_EXP_DEVCTL_NFERE)
    fatal_enable = Flag(device_control, regs.PCI_EXP_DEVCTL_FERE)
    unsupported_enable = Flag(device_control, regs.PCI_EXP_DEVCTL_URRE)
    relaxed_ordering = Flag(device_control, regs.PCI_EXP_DEVCTL_RELAX_EN)
    max_payload = Field(device_control, regs.PCI_EXP_DEVCTL_PAYLOAD)
    extended_tags = Flag(device_control, regs.PCI_EXP_DEVCTL_EXT_TAG)
    no_snoop = Flag(device_control, regs.PCI_EXP_DEVCTL_NOSNOOP_EN)
    max_read_request = Field(device_control, regs.PCI_EXP_DEVCTL_READRQ)

    device_status = Register(regs.PCI_EXP_DEVSTA, 2, write_1_to_clear=0x000F)
    correctable_error = Flag(device_status, regs.PCI_EXP_DEVSTA_CED)
    nonfatal_error = Flag(device_status, regs.PCI_EXP_DEVSTA_NFED)
    fatal_error = Flag(device_status, regs.PCI_EXP_DEVSTA_FED)
    unsupported_request = Flag(device_status, regs.PCI_EXP_DEVSTA_URD)
    aux_power = Flag(device_status, regs.PCI_EXP_DEVSTA_AUXPD)
    transactions_pending = Flag(device_status, regs.PCI_EXP_DEVSTA_TRPND)

    link_capabilities = Register(regs.PCI_EXP_LNKCAP)
    max_link_speed = Field(link_capabilities, regs.PCI_EXP_LNKCAP_SLS)
    max_link_width = Field(link_capabilities, regs.PCI_EXP_LNKCAP_MLW)
    aspm_supported = Field(link_capabilities, regs.PCI_EXP_LNKCAP_ASPMS)
    port_number = Field(link_capabilities, regs.PCI_EXP_LNKCAP_PN)

    link_control = Register(regs.PCI_EXP_LNKCTL, 2)
    aspm = Field(link_control, regs.PCI_EXP_LNKCTL_ASPMC)
    common_clock = Flag(link_control, regs.PCI_EXP_LNKCTL_CCC)

    link_status = Register(regs.PCI_EXP_LNKSTA, 2, write_1_to_clear=0xC000)
    link_speed = Field(link_status, regs.PCI_EXP_LNKSTA_CLS)
    link_width = Field(link_status, regs.PCI_EXP_LNKSTA_NLW)

    # From here on in version 2 only.
    device_capabilities_2 = Register(regs.PCI_EXP_DEVCAP2)
    device_control_2 = Register(regs.PCI_EXP_DEVCTL2, 2)
    completion_timeout = Field(device_control_2, regs.PCI_EXP_DEVCTL2_COMP_TIMEOUT)
    completion_timeout_disable = Flag(device_control_2, regs.PCI_EXP_DEVCTL2_COMP_TMOUT_DIS)
    ltr_enable = Flag(device_control_2, regs.PCI_EXP_DEVCTL2_LTR_EN)
    link_capabilities_2 = Register(regs.PCI_EXP_LNKCAP2)
    link_speeds = Field(link_capabilities_2, regs.PCI_EXP_LNKCAP2_SLS)
    link_control_2 = Register(regs.PCI_EXP_LNKCTL2, 2)
    target_link_speed = Field(link_control_2, regs.PCI_EXP_LNKCTL2_TLS)
    link_status_2 = Register(regs.PCI_EXP_LNKSTA2, 2)


class AdvancedFeatures(Capability):
    """Function-level reset for conventional PCI."""

    length = Register(regs.PCI_AF_LENGTH, 1)
    capabilities = Register(regs.PCI_AF_CAP, 1)
    transactions_pending_supported = Flag(capabilities, regs.PCI_AF_CAP_TP)
    function_level_reset = Flag(capabilities, regs.PCI_AF_CAP_FLR)
    control = Register(regs.PCI_AF_CTRL, 1)
    status = Register(regs.PCI_AF_STATUS, 1)
    transactions_pending = Flag(status, regs.PCI_AF_STATUS_TP)


CLASSES: dict[int, type[Capability]] = {
    regs.PCI_CAP_ID_PM: PowerManagement,
    regs.PCI_CAP_ID_VPD: VitalProductData,
    regs.PCI_CAP_ID_MSI: Msi,
    regs.PCI_CAP_ID_VNDR: Vendor,
    regs.PCI_CAP_ID_EXP: Express,
    regs.PCI_CAP_ID_MSIX: MsiX,
    regs.PCI_CAP_ID_AF: AdvancedFeatures,
}
