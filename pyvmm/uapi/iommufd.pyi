# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# ruff: noqa
# fmt: off
"""The kernel's ABI: <linux/iommufd.h>.

Generated from Debian's linux-libc-dev 7.3.4-1~bpo13+1 by `python -m tools.uapi`; do not edit.
Those headers are under GPL-2.0 WITH Linux-syscall-note; what is here are the facts of the
interface: its names, numbers and layouts. No text of the headers is copied.
"""

import ctypes
from ctypes import Array, Structure, Union
from typing import Final

IOMMUFD_CMD_BASE: Final = 128
IOMMUFD_CMD_DESTROY: Final = 128
IOMMUFD_CMD_IOAS_ALLOC: Final = 129
IOMMUFD_CMD_IOAS_ALLOW_IOVAS: Final = 130
IOMMUFD_CMD_IOAS_COPY: Final = 131
IOMMUFD_CMD_IOAS_IOVA_RANGES: Final = 132
IOMMUFD_CMD_IOAS_MAP: Final = 133
IOMMUFD_CMD_IOAS_UNMAP: Final = 134
IOMMUFD_CMD_OPTION: Final = 135
IOMMUFD_CMD_VFIO_IOAS: Final = 136
IOMMUFD_CMD_HWPT_ALLOC: Final = 137
IOMMUFD_CMD_GET_HW_INFO: Final = 138
IOMMUFD_CMD_HWPT_SET_DIRTY_TRACKING: Final = 139
IOMMUFD_CMD_HWPT_GET_DIRTY_BITMAP: Final = 140
IOMMUFD_CMD_HWPT_INVALIDATE: Final = 141
IOMMUFD_CMD_FAULT_QUEUE_ALLOC: Final = 142
IOMMUFD_CMD_IOAS_MAP_FILE: Final = 143
IOMMUFD_CMD_VIOMMU_ALLOC: Final = 144
IOMMUFD_CMD_VDEVICE_ALLOC: Final = 145
IOMMUFD_CMD_IOAS_CHANGE_PROCESS: Final = 146
IOMMUFD_CMD_VEVENTQ_ALLOC: Final = 147
IOMMUFD_CMD_HW_QUEUE_ALLOC: Final = 148
IOMMUFD_CMD_IOAS_NOIOMMU_GET_PA: Final = 149
# enum iommufd_ioas_map_flags
IOMMU_IOAS_MAP_FIXED_IOVA: Final = 1
IOMMU_IOAS_MAP_WRITEABLE: Final = 2
IOMMU_IOAS_MAP_READABLE: Final = 4
# enum iommufd_option
IOMMU_OPTION_RLIMIT_MODE: Final = 0
IOMMU_OPTION_HUGE_PAGES: Final = 1
# enum iommufd_option_ops
IOMMU_OPTION_OP_SET: Final = 0
IOMMU_OPTION_OP_GET: Final = 1
# enum iommufd_vfio_ioas_op
IOMMU_VFIO_IOAS_GET: Final = 0
IOMMU_VFIO_IOAS_SET: Final = 1
IOMMU_VFIO_IOAS_CLEAR: Final = 2
# enum iommufd_hwpt_alloc_flags
IOMMU_HWPT_ALLOC_NEST_PARENT: Final = 1
IOMMU_HWPT_ALLOC_DIRTY_TRACKING: Final = 2
IOMMU_HWPT_FAULT_ID_VALID: Final = 4
IOMMU_HWPT_ALLOC_PASID: Final = 8
# enum iommu_hwpt_vtd_s1_flags
IOMMU_VTD_S1_SRE: Final = 1
IOMMU_VTD_S1_EAFE: Final = 2
IOMMU_VTD_S1_WPE: Final = 4
# enum iommu_hwpt_data_type
IOMMU_HWPT_DATA_NONE: Final = 0
IOMMU_HWPT_DATA_VTD_S1: Final = 1
IOMMU_HWPT_DATA_ARM_SMMUV3: Final = 2
IOMMU_HWPT_DATA_AMD_GUEST: Final = 3
# enum iommu_hw_info_vtd_flags
IOMMU_HW_INFO_VTD_ERRATA_772415_SPR17: Final = 1
# enum iommu_hw_info_arm_smmuv3_flags
IOMMU_HW_INFO_ARM_SMMUV3_ERRATA_REPEAT_TLBI_CFGI: Final = 1
# enum iommu_hw_info_type
IOMMU_HW_INFO_TYPE_NONE: Final = 0
IOMMU_HW_INFO_TYPE_DEFAULT: Final = 0
IOMMU_HW_INFO_TYPE_INTEL_VTD: Final = 1
IOMMU_HW_INFO_TYPE_ARM_SMMUV3: Final = 2
IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV: Final = 3
IOMMU_HW_INFO_TYPE_AMD: Final = 4
# enum iommufd_hw_capabilities
IOMMU_HW_CAP_DIRTY_TRACKING: Final = 1
IOMMU_HW_CAP_PCI_PASID_EXEC: Final = 2
IOMMU_HW_CAP_PCI_PASID_PRIV: Final = 4
IOMMU_HW_CAP_PCI_ATS_NOT_SUPPORTED: Final = 8
# enum iommufd_hw_info_flags
IOMMU_HW_INFO_FLAG_INPUT_TYPE: Final = 1
# enum iommufd_hwpt_set_dirty_tracking_flags
IOMMU_HWPT_DIRTY_TRACKING_ENABLE: Final = 1
# enum iommufd_hwpt_get_dirty_bitmap_flags
IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR: Final = 1
# enum iommu_hwpt_invalidate_data_type
IOMMU_HWPT_INVALIDATE_DATA_VTD_S1: Final = 0
IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3: Final = 1
# enum iommu_hwpt_vtd_s1_invalidate_flags
IOMMU_VTD_INV_FLAGS_LEAF: Final = 1
# enum iommu_hwpt_pgfault_flags
IOMMU_PGFAULT_FLAGS_PASID_VALID: Final = 1
IOMMU_PGFAULT_FLAGS_LAST_PAGE: Final = 2
# enum iommu_hwpt_pgfault_perm
IOMMU_PGFAULT_PERM_READ: Final = 1
IOMMU_PGFAULT_PERM_WRITE: Final = 2
IOMMU_PGFAULT_PERM_EXEC: Final = 4
IOMMU_PGFAULT_PERM_PRIV: Final = 8
# enum iommufd_page_response_code
IOMMUFD_PAGE_RESP_SUCCESS: Final = 0
IOMMUFD_PAGE_RESP_INVALID: Final = 1
# enum iommu_viommu_type
IOMMU_VIOMMU_TYPE_DEFAULT: Final = 0
IOMMU_VIOMMU_TYPE_ARM_SMMUV3: Final = 1
IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV: Final = 2
# enum iommu_veventq_flag
IOMMU_VEVENTQ_FLAG_LOST_EVENTS: Final = 1
# enum iommu_veventq_type
IOMMU_VEVENTQ_TYPE_DEFAULT: Final = 0
IOMMU_VEVENTQ_TYPE_ARM_SMMUV3: Final = 1
IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV: Final = 2
# enum iommu_hw_queue_type
IOMMU_HW_QUEUE_TYPE_DEFAULT: Final = 0
IOMMU_HW_QUEUE_TYPE_TEGRA241_CMDQV: Final = 1

IOMMUFD_TYPE: Final = 0x3b
IOMMU_DESTROY: Final = 0x3b80
IOMMU_IOAS_ALLOC: Final = 0x3b81
IOMMU_IOAS_IOVA_RANGES: Final = 0x3b84
IOMMU_IOAS_ALLOW_IOVAS: Final = 0x3b82
IOMMU_IOAS_MAP: Final = 0x3b85
IOMMU_IOAS_NOIOMMU_GET_PA: Final = 0x3b95
IOMMU_IOAS_MAP_FILE: Final = 0x3b8f
IOMMU_IOAS_COPY: Final = 0x3b83
IOMMU_IOAS_UNMAP: Final = 0x3b86
IOMMU_OPTION: Final = 0x3b87
IOMMU_VFIO_IOAS: Final = 0x3b88
IOMMU_HWPT_ALLOC: Final = 0x3b89
IOMMU_GET_HW_INFO: Final = 0x3b8a
IOMMU_HWPT_SET_DIRTY_TRACKING: Final = 0x3b8b
IOMMU_HWPT_GET_DIRTY_BITMAP: Final = 0x3b8c
IOMMU_HWPT_INVALIDATE: Final = 0x3b8d
IOMMU_FAULT_QUEUE_ALLOC: Final = 0x3b8e
IOMMU_VIOMMU_ALLOC: Final = 0x3b90
IOMMU_VDEVICE_ALLOC: Final = 0x3b91
IOMMU_IOAS_CHANGE_PROCESS: Final = 0x3b92
IOMMU_VEVENTQ_ALLOC: Final = 0x3b93
IOMMU_HW_QUEUE_ALLOC: Final = 0x3b94

class iommu_destroy(Structure):
    size: int
    id: int

class iommu_ioas_alloc(Structure):
    size: int
    flags: int
    out_ioas_id: int

class iommu_iova_range(Structure):
    start: int
    last: int

class iommu_ioas_iova_ranges(Structure):
    size: int
    ioas_id: int
    num_iovas: int
    __reserved: int
    allowed_iovas: int
    out_iova_alignment: int

class iommu_ioas_allow_iovas(Structure):
    size: int
    ioas_id: int
    num_iovas: int
    __reserved: int
    allowed_iovas: int

class iommu_ioas_map(Structure):
    size: int
    flags: int
    ioas_id: int
    __reserved: int
    user_va: int
    length: int
    iova: int

class iommu_ioas_noiommu_get_pa(Structure):
    size: int
    flags: int
    ioas_id: int
    __reserved: int
    iova: int
    length: int
    out_phys: int

class iommu_ioas_map_file(Structure):
    size: int
    flags: int
    ioas_id: int
    fd: int
    start: int
    length: int
    iova: int

class iommu_ioas_copy(Structure):
    size: int
    flags: int
    dst_ioas_id: int
    src_ioas_id: int
    length: int
    dst_iova: int
    src_iova: int

class iommu_ioas_unmap(Structure):
    size: int
    ioas_id: int
    iova: int
    length: int

class iommu_option(Structure):
    size: int
    option_id: int
    op: int
    __reserved: int
    object_id: int
    val64: int

class iommu_vfio_ioas(Structure):
    size: int
    ioas_id: int
    op: int
    __reserved: int

class iommu_hwpt_vtd_s1(Structure):
    flags: int
    pgtbl_addr: int
    addr_width: int
    __reserved: int

class iommu_hwpt_arm_smmuv3(Structure):
    ste: Array[ctypes.c_uint64]

class iommu_hwpt_amd_guest(Structure):
    dte: Array[ctypes.c_uint64]

class iommu_hwpt_alloc(Structure):
    size: int
    flags: int
    dev_id: int
    pt_id: int
    out_hwpt_id: int
    __reserved: int
    data_type: int
    data_len: int
    data_uptr: int
    fault_id: int
    __reserved2: int

class iommu_hw_info_vtd(Structure):
    flags: int
    __reserved: int
    cap_reg: int
    ecap_reg: int

class iommu_hw_info_arm_smmuv3(Structure):
    flags: int
    __reserved: int
    idr: Array[ctypes.c_uint32]
    iidr: int
    aidr: int

class iommu_hw_info_tegra241_cmdqv(Structure):
    flags: int
    version: int
    log2vcmdqs: int
    log2vsids: int
    __reserved: int

class iommu_hw_info_amd(Structure):
    efr: int
    efr2: int

class iommu_hw_info_anonymous_1(Union):
    in_data_type: int
    out_data_type: int

class iommu_hw_info(Structure):
    size: int
    flags: int
    dev_id: int
    data_len: int
    data_uptr: int
    anonymous_1: iommu_hw_info_anonymous_1
    in_data_type: int
    out_data_type: int
    out_max_pasid_log2: int
    __reserved: Array[ctypes.c_uint8]
    out_capabilities: int

class iommu_hwpt_set_dirty_tracking(Structure):
    size: int
    flags: int
    hwpt_id: int
    __reserved: int

class iommu_hwpt_get_dirty_bitmap(Structure):
    size: int
    hwpt_id: int
    flags: int
    __reserved: int
    iova: int
    length: int
    page_size: int
    data: int

class iommu_hwpt_vtd_s1_invalidate(Structure):
    addr: int
    npages: int
    flags: int
    __reserved: int

class iommu_viommu_arm_smmuv3_invalidate(Structure):
    cmd: Array[ctypes.c_uint64]

class iommu_hwpt_invalidate(Structure):
    size: int
    hwpt_id: int
    data_uptr: int
    data_type: int
    entry_len: int
    entry_num: int
    __reserved: int

class iommu_hwpt_pgfault(Structure):
    flags: int
    dev_id: int
    pasid: int
    grpid: int
    perm: int
    __reserved: int
    addr: int
    length: int
    cookie: int

class iommu_hwpt_page_response(Structure):
    cookie: int
    code: int

class iommu_fault_alloc(Structure):
    size: int
    flags: int
    out_fault_id: int
    out_fault_fd: int

class iommu_viommu_tegra241_cmdqv(Structure):
    out_vintf_mmap_offset: int
    out_vintf_mmap_length: int

class iommu_viommu_alloc(Structure):
    size: int
    flags: int
    type: int
    dev_id: int
    hwpt_id: int
    out_viommu_id: int
    data_len: int
    __reserved: int
    data_uptr: int

class iommu_vdevice_alloc(Structure):
    size: int
    viommu_id: int
    dev_id: int
    out_vdevice_id: int
    virt_id: int

class iommu_ioas_change_process(Structure):
    size: int
    __reserved: int

class iommufd_vevent_header(Structure):
    flags: int
    sequence: int

class iommu_vevent_arm_smmuv3(Structure):
    evt: Array[ctypes.c_uint64]

class iommu_vevent_tegra241_cmdqv(Structure):
    lvcmdq_err_map: Array[ctypes.c_uint64]

class iommu_veventq_alloc(Structure):
    size: int
    flags: int
    viommu_id: int
    type: int
    veventq_depth: int
    out_veventq_id: int
    out_veventq_fd: int
    __reserved: int

class iommu_hw_queue_alloc(Structure):
    size: int
    flags: int
    viommu_id: int
    type: int
    index: int
    out_hw_queue_id: int
    nesting_parent_iova: int
    length: int
