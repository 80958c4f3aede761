# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The extended capabilities whose registers have names.

Layouts: PCI Express Base Specification, chapters 7.7 to 7.9 and 9.3.3 (SR-IOV).
"""

from __future__ import annotations

from ...uapi import pci_regs as regs
from .capability import Capability
from .registers import Field, Flag, Register


class AdvancedErrors(Capability):
    """Advanced Error Reporting: which errors happened, which are masked, which are fatal."""

    uncorrectable_status = Register(regs.PCI_ERR_UNCOR_STATUS, write_1_to_clear=0xFFFFFFFF)
    data_link_protocol = Flag(uncorrectable_status, regs.PCI_ERR_UNC_DLP)
    poisoned_tlp = Flag(uncorrectable_status, regs.PCI_ERR_UNC_POISON_TLP)
    flow_control_protocol = Flag(uncorrectable_status, regs.PCI_ERR_UNC_FCP)
    completion_timeout = Flag(uncorrectable_status, regs.PCI_ERR_UNC_COMP_TIME)
    completer_abort = Flag(uncorrectable_status, regs.PCI_ERR_UNC_COMP_ABORT)
    unexpected_completion = Flag(uncorrectable_status, regs.PCI_ERR_UNC_UNX_COMP)
    receiver_overflow = Flag(uncorrectable_status, regs.PCI_ERR_UNC_RX_OVER)
    malformed_tlp = Flag(uncorrectable_status, regs.PCI_ERR_UNC_MALF_TLP)
    ecrc = Flag(uncorrectable_status, regs.PCI_ERR_UNC_ECRC)
    unsupported_request = Flag(uncorrectable_status, regs.PCI_ERR_UNC_UNSUP)
    acs_violation = Flag(uncorrectable_status, regs.PCI_ERR_UNC_ACSV)
    uncorrectable_mask = Register(regs.PCI_ERR_UNCOR_MASK)
    uncorrectable_severity = Register(regs.PCI_ERR_UNCOR_SEVER)

    correctable_status = Register(regs.PCI_ERR_COR_STATUS, write_1_to_clear=0xFFFFFFFF)
    receiver_error = Flag(correctable_status, regs.PCI_ERR_COR_RCVR)
    bad_tlp = Flag(correctable_status, regs.PCI_ERR_COR_BAD_TLP)
    bad_dllp = Flag(correctable_status, regs.PCI_ERR_COR_BAD_DLLP)
    replay_rollover = Flag(correctable_status, regs.PCI_ERR_COR_REP_ROLL)
    replay_timeout = Flag(correctable_status, regs.PCI_ERR_COR_REP_TIMER)
    advisory_nonfatal = Flag(correctable_status, regs.PCI_ERR_COR_ADV_NFAT)
    correctable_mask = Register(regs.PCI_ERR_COR_MASK)

    control = Register(regs.PCI_ERR_CAP)
    first_error = Field(control, 0x1F)
    header_log_0 = Register(regs.PCI_ERR_HEADER_LOG)
    header_log_1 = Register(regs.PCI_ERR_HEADER_LOG + 4)
    header_log_2 = Register(regs.PCI_ERR_HEADER_LOG + 8)
    header_log_3 = Register(regs.PCI_ERR_HEADER_LOG + 12)


class SerialNumber(Capability):
    """An EUI-64 of the device's own."""

    low = Register(4)
    high = Register(8)

    @property
    def serial(self) -> int:
        return self.high << 32 | self.low


class VendorExtended(Capability):
    """Whatever the vendor has put there (VSEC)."""

    header = Register(regs.PCI_VNDR_HEADER)
    vsec_id = Field(header, 0x0000FFFF)
    vsec_revision = Field(header, 0x000F0000)
    length = Field(header, 0xFFF00000)

    @property
    def data(self) -> bytes:
        """What follows the header, as far as it is there."""
        end = min(self.length, self.size) if self.size >= 8 else 0
        return bytes(self.u8[at] for at in range(8, end))


class DesignatedVendor(Capability):
    """Of a vendor that is not the device's, such as CXL's (DVSEC)."""

    header_1 = Register(regs.PCI_DVSEC_HEADER1)
    dvsec_vendor = Field(header_1, 0x0000FFFF)
    dvsec_revision = Field(header_1, 0x000F0000)
    length = Field(header_1, 0xFFF00000)
    dvsec_id = Register(regs.PCI_DVSEC_HEADER2, 2)


class AccessControl(Capability):
    """Access Control Services: what peers may do to each other (ACS)."""

    capabilities = Register(regs.PCI_ACS_CAP, 2)
    control = Register(regs.PCI_ACS_CTRL, 2)
    source_validation = Flag(control, regs.PCI_ACS_SV)
    translation_blocking = Flag(control, regs.PCI_ACS_TB)
    request_redirect = Flag(control, regs.PCI_ACS_RR)
    completion_redirect = Flag(control, regs.PCI_ACS_CR)
    upstream_forwarding = Flag(control, regs.PCI_ACS_UF)


class AlternativeRouting(Capability):
    """Alternative Routing-ID Interpretation: up to 256 functions (ARI)."""

    capabilities = Register(regs.PCI_ARI_CAP, 2)
    next_function = Field(capabilities, 0xFF00)
    control = Register(regs.PCI_ARI_CTRL, 2)


class AddressTranslation(Capability):
    """Address Translation Services (ATS)."""

    capabilities = Register(regs.PCI_ATS_CAP, 2)
    queue_depth = Field(capabilities, 0x001F)
    page_aligned = Flag(capabilities, regs.PCI_ATS_CAP_PAGE_ALIGNED)
    control = Register(regs.PCI_ATS_CTRL, 2)
    smallest_unit = Field(control, 0x001F)
    enable = Flag(control, regs.PCI_ATS_CTRL_ENABLE)


class SingleRootIov(Capability):
    """Single Root I/O Virtualization: the virtual functions there are and may be (SR-IOV)."""

    capabilities = Register(regs.PCI_SRIOV_CAP)
    control = Register(regs.PCI_SRIOV_CTRL, 2)
    vf_enable = Flag(control, regs.PCI_SRIOV_CTRL_VFE)
    vf_memory_enable = Flag(control, regs.PCI_SRIOV_CTRL_MSE)
    ari = Flag(control, regs.PCI_SRIOV_CTRL_ARI)
    status = Register(regs.PCI_SRIOV_STATUS, 2)
    initial_vfs = Register(regs.PCI_SRIOV_INITIAL_VF, 2)
    total_vfs = Register(regs.PCI_SRIOV_TOTAL_VF, 2)
    num_vfs = Register(regs.PCI_SRIOV_NUM_VF, 2)
    function_link = Register(regs.PCI_SRIOV_FUNC_LINK, 1)
    vf_offset = Register(regs.PCI_SRIOV_VF_OFFSET, 2)
    vf_stride = Register(regs.PCI_SRIOV_VF_STRIDE, 2)
    vf_device_id = Register(regs.PCI_SRIOV_VF_DID, 2)
    page_sizes = Register(regs.PCI_SRIOV_SUP_PGSIZE)
    page_size = Register(regs.PCI_SRIOV_SYS_PGSIZE)
    vf_bar0 = Register(regs.PCI_SRIOV_BAR)
    vf_bar1 = Register(regs.PCI_SRIOV_BAR + 4)
    vf_bar2 = Register(regs.PCI_SRIOV_BAR + 8)
    vf_bar3 = Register(regs.PCI_SRIOV_BAR + 12)
    vf_bar4 = Register(regs.PCI_SRIOV_BAR + 16)
    vf_bar5 = Register(regs.PCI_SRIOV_BAR + 20)


class PageRequest(Capability):
    """Page Request Interface (PRI)."""

    control = Register(regs.PCI_PRI_CTRL, 2)
    enable = Flag(control, regs.PCI_PRI_CTRL_ENABLE)
    status = Register(regs.PCI_PRI_STATUS, 2, write_1_to_clear=0x0003)
    stopped = Flag(status, regs.PCI_PRI_STATUS_STOPPED)
    capacity = Register(regs.PCI_PRI_MAX_REQ)
    allocation = Register(regs.PCI_PRI_ALLOC_REQ)


class ProcessAddressSpace(Capability):
    """Process Address Space IDs (PASID)."""

    capabilities = Register(regs.PCI_PASID_CAP, 2)
    execute_supported = Flag(capabilities, regs.PCI_PASID_CAP_EXEC)
    privileged_supported = Flag(capabilities, regs.PCI_PASID_CAP_PRIV)
    width = Field(capabilities, regs.PCI_PASID_CAP_WIDTH)
    control = Register(regs.PCI_PASID_CTRL, 2)
    enable = Flag(control, regs.PCI_PASID_CTRL_ENABLE)


class ResizableBar(Capability):
    """The sizes that the first of the resizable BARs may have; others follow, 8 bytes each."""

    capabilities = Register(regs.PCI_REBAR_CAP)
    sizes = Field(capabilities, regs.PCI_REBAR_CAP_SIZES)
    control = Register(regs.PCI_REBAR_CTRL)
    bar = Field(control, regs.PCI_REBAR_CTRL_BAR_IDX)
    bars = Field(control, regs.PCI_REBAR_CTRL_NBAR_MASK)
    bar_size = Field(control, regs.PCI_REBAR_CTRL_BAR_SIZE)


class LatencyTolerance(Capability):
    """Latency Tolerance Reporting (LTR)."""

    max_snoop = Register(regs.PCI_LTR_MAX_SNOOP_LAT, 2)
    max_no_snoop = Register(regs.PCI_LTR_MAX_NOSNOOP_LAT, 2)


class PrecisionTime(Capability):
    """Precision Time Measurement (PTM)."""

    capabilities = Register(regs.PCI_PTM_CAP)
    requester = Flag(capabilities, regs.PCI_PTM_CAP_REQ)
    responder = Flag(capabilities, regs.PCI_PTM_CAP_RES)
    root = Flag(capabilities, regs.PCI_PTM_CAP_ROOT)
    control = Register(regs.PCI_PTM_CTRL)
    enable = Flag(control, regs.PCI_PTM_CTRL_ENABLE)


class L1Substates(Capability):
    """L1 PM Substates."""

    capabilities = Register(regs.PCI_L1SS_CAP)
    supported = Flag(capabilities, regs.PCI_L1SS_CAP_L1_PM_SS)
    control_1 = Register(regs.PCI_L1SS_CTL1)
    aspm_l1_2 = Flag(control_1, regs.PCI_L1SS_CTL1_ASPM_L1_2)
    aspm_l1_1 = Flag(control_1, regs.PCI_L1SS_CTL1_ASPM_L1_1)
    control_2 = Register(regs.PCI_L1SS_CTL2)


CLASSES: dict[int, type[Capability]] = {
    regs.PCI_EXT_CAP_ID_ERR: AdvancedErrors,
    regs.PCI_EXT_CAP_ID_DSN: SerialNumber,
    regs.PCI_EXT_CAP_ID_VNDR: VendorExtended,
    regs.PCI_EXT_CAP_ID_DVSEC: DesignatedVendor,
    regs.PCI_EXT_CAP_ID_ACS: AccessControl,
    regs.PCI_EXT_CAP_ID_ARI: AlternativeRouting,
    regs.PCI_EXT_CAP_ID_ATS: AddressTranslation,
    regs.PCI_EXT_CAP_ID_SRIOV: SingleRootIov,
    regs.PCI_EXT_CAP_ID_PRI: PageRequest,
    regs.PCI_EXT_CAP_ID_PASID: ProcessAddressSpace,
    regs.PCI_EXT_CAP_ID_REBAR: ResizableBar,
    regs.PCI_EXT_CAP_ID_LTR: LatencyTolerance,
    regs.PCI_EXT_CAP_ID_PTM: PrecisionTime,
    regs.PCI_EXT_CAP_ID_L1SS: L1Substates,
}
