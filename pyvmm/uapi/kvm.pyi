# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
# ruff: noqa
# fmt: off
"""The kernel's ABI: <linux/kvm.h>, <asm/kvm.h>, <linux/kvm_para.h>, <asm/kvm_para.h>.

Generated from Debian's linux-libc-dev 7.3.4-1~bpo13+1 by `python -m tools.uapi`; do not edit.
Those headers are under GPL-2.0 WITH Linux-syscall-note; what is here are the facts of the
interface: its names, numbers and layouts. No text of the headers is copied.
"""

import ctypes
from ctypes import Array, Structure, Union
from typing import Final

# enum sev_cmd_id
KVM_SEV_INIT: Final = 0
KVM_SEV_ES_INIT: Final = 1
KVM_SEV_LAUNCH_START: Final = 2
KVM_SEV_LAUNCH_UPDATE_DATA: Final = 3
KVM_SEV_LAUNCH_UPDATE_VMSA: Final = 4
KVM_SEV_LAUNCH_SECRET: Final = 5
KVM_SEV_LAUNCH_MEASURE: Final = 6
KVM_SEV_LAUNCH_FINISH: Final = 7
KVM_SEV_SEND_START: Final = 8
KVM_SEV_SEND_UPDATE_DATA: Final = 9
KVM_SEV_SEND_UPDATE_VMSA: Final = 10
KVM_SEV_SEND_FINISH: Final = 11
KVM_SEV_RECEIVE_START: Final = 12
KVM_SEV_RECEIVE_UPDATE_DATA: Final = 13
KVM_SEV_RECEIVE_UPDATE_VMSA: Final = 14
KVM_SEV_RECEIVE_FINISH: Final = 15
KVM_SEV_GUEST_STATUS: Final = 16
KVM_SEV_DBG_DECRYPT: Final = 17
KVM_SEV_DBG_ENCRYPT: Final = 18
KVM_SEV_CERT_EXPORT: Final = 19
KVM_SEV_GET_ATTESTATION_REPORT: Final = 20
KVM_SEV_SEND_CANCEL: Final = 21
KVM_SEV_INIT2: Final = 22
KVM_SEV_SNP_LAUNCH_START: Final = 100
KVM_SEV_SNP_LAUNCH_UPDATE: Final = 101
KVM_SEV_SNP_LAUNCH_FINISH: Final = 102
KVM_SEV_SNP_ENABLE_REQ_CERTS: Final = 103
KVM_SEV_NR_MAX: Final = 104
# enum kvm_tdx_cmd_id
KVM_TDX_CAPABILITIES: Final = 0
KVM_TDX_INIT_VM: Final = 1
KVM_TDX_INIT_VCPU: Final = 2
KVM_TDX_INIT_MEM_REGION: Final = 3
KVM_TDX_FINALIZE_VM: Final = 4
KVM_TDX_GET_CPUID: Final = 5
KVM_TDX_CMD_NR_MAX: Final = 6

kvm_ioeventfd_flag_nr_datamatch: Final = 0
kvm_ioeventfd_flag_nr_pio: Final = 1
kvm_ioeventfd_flag_nr_deassign: Final = 2
kvm_ioeventfd_flag_nr_virtio_ccw_notify: Final = 3
kvm_ioeventfd_flag_nr_fast_mmio: Final = 4
kvm_ioeventfd_flag_nr_max: Final = 5
# enum kvm_device_type
KVM_DEV_TYPE_FSL_MPIC_20: Final = 1
KVM_DEV_TYPE_FSL_MPIC_42: Final = 2
KVM_DEV_TYPE_XICS: Final = 3
KVM_DEV_TYPE_VFIO: Final = 4
KVM_DEV_TYPE_ARM_VGIC_V2: Final = 5
KVM_DEV_TYPE_FLIC: Final = 6
KVM_DEV_TYPE_ARM_VGIC_V3: Final = 7
KVM_DEV_TYPE_ARM_VGIC_ITS: Final = 8
KVM_DEV_TYPE_XIVE: Final = 9
KVM_DEV_TYPE_ARM_PV_TIME: Final = 10
KVM_DEV_TYPE_RISCV_AIA: Final = 11
KVM_DEV_TYPE_LOONGARCH_IPI: Final = 12
KVM_DEV_TYPE_LOONGARCH_EIOINTC: Final = 13
KVM_DEV_TYPE_LOONGARCH_PCHPIC: Final = 14
KVM_DEV_TYPE_LOONGARCH_DMSINTC: Final = 15
KVM_DEV_TYPE_ARM_VGIC_V5: Final = 16
KVM_DEV_TYPE_MAX: Final = 17

KVM_PIO_PAGE_OFFSET: Final = 1
KVM_COALESCED_MMIO_PAGE_OFFSET: Final = 2
KVM_DIRTY_LOG_PAGE_OFFSET: Final = 64
DE_VECTOR: Final = 0
DB_VECTOR: Final = 1
BP_VECTOR: Final = 3
OF_VECTOR: Final = 4
BR_VECTOR: Final = 5
UD_VECTOR: Final = 6
NM_VECTOR: Final = 7
DF_VECTOR: Final = 8
TS_VECTOR: Final = 10
NP_VECTOR: Final = 11
SS_VECTOR: Final = 12
GP_VECTOR: Final = 13
PF_VECTOR: Final = 14
MF_VECTOR: Final = 16
AC_VECTOR: Final = 17
MC_VECTOR: Final = 18
XM_VECTOR: Final = 19
VE_VECTOR: Final = 20
CP_VECTOR: Final = 21
HV_VECTOR: Final = 28
VC_VECTOR: Final = 29
SX_VECTOR: Final = 30
KVM_NR_INTERRUPTS: Final = 256
KVM_IOAPIC_NUM_PINS: Final = 24
KVM_IRQCHIP_PIC_MASTER: Final = 0
KVM_IRQCHIP_PIC_SLAVE: Final = 1
KVM_IRQCHIP_IOAPIC: Final = 2
KVM_NR_IRQCHIPS: Final = 3
KVM_RUN_X86_SMM: Final = 1
KVM_RUN_X86_BUS_LOCK: Final = 2
KVM_RUN_X86_GUEST_MODE: Final = 4
KVM_APIC_REG_SIZE: Final = 0x400
KVM_SREGS2_FLAGS_PDPTRS_VALID: Final = 1
KVM_MSR_FILTER_MAX_BITMAP_SIZE: Final = 0x600
KVM_MSR_FILTER_READ: Final = 1
KVM_MSR_FILTER_WRITE: Final = 2
KVM_MSR_FILTER_RANGE_VALID_MASK: Final = 3
KVM_MSR_FILTER_MAX_RANGES: Final = 16
KVM_MSR_FILTER_DEFAULT_ALLOW: Final = 0
KVM_MSR_FILTER_DEFAULT_DENY: Final = 1
KVM_MSR_FILTER_VALID_MASK: Final = 1
KVM_CPUID_FLAG_SIGNIFCANT_INDEX: Final = 1
KVM_CPUID_FLAG_STATEFUL_FUNC: Final = 2
KVM_CPUID_FLAG_STATE_READ_NEXT: Final = 4
KVM_GUESTDBG_USE_SW_BP: Final = 0x10000
KVM_GUESTDBG_USE_HW_BP: Final = 0x20000
KVM_GUESTDBG_INJECT_DB: Final = 0x40000
KVM_GUESTDBG_INJECT_BP: Final = 0x80000
KVM_GUESTDBG_BLOCKIRQ: Final = 0x100000
KVM_PIT_FLAGS_HPET_LEGACY: Final = 1
KVM_PIT_FLAGS_SPEAKER_DATA_ON: Final = 2
KVM_VCPUEVENT_VALID_NMI_PENDING: Final = 1
KVM_VCPUEVENT_VALID_SIPI_VECTOR: Final = 2
KVM_VCPUEVENT_VALID_SHADOW: Final = 4
KVM_VCPUEVENT_VALID_SMM: Final = 8
KVM_VCPUEVENT_VALID_PAYLOAD: Final = 0x10
KVM_VCPUEVENT_VALID_TRIPLE_FAULT: Final = 0x20
KVM_X86_SHADOW_INT_MOV_SS: Final = 1
KVM_X86_SHADOW_INT_STI: Final = 2
KVM_MAX_XCRS: Final = 16
KVM_X86_REG_TYPE_MSR: Final = 2
KVM_X86_REG_TYPE_KVM: Final = 3
KVM_REG_GUEST_SSP: Final = 0
KVM_SYNC_X86_REGS: Final = 1
KVM_SYNC_X86_SREGS: Final = 2
KVM_SYNC_X86_EVENTS: Final = 4
KVM_SYNC_X86_VALID_FIELDS: Final = 7
KVM_X86_QUIRK_LINT0_REENABLED: Final = 1
KVM_X86_QUIRK_CD_NW_CLEARED: Final = 2
KVM_X86_QUIRK_LAPIC_MMIO_HOLE: Final = 4
KVM_X86_QUIRK_OUT_7E_INC_RIP: Final = 8
KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT: Final = 0x10
KVM_X86_QUIRK_FIX_HYPERCALL_INSN: Final = 0x20
KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS: Final = 0x40
KVM_X86_QUIRK_SLOT_ZAP_ALL: Final = 0x80
KVM_X86_QUIRK_STUFF_FEATURE_MSRS: Final = 0x100
KVM_X86_QUIRK_IGNORE_GUEST_PAT: Final = 0x200
KVM_X86_QUIRK_VMCS12_ALLOW_FREEZE_IN_SMM: Final = 0x400
KVM_X86_QUIRK_NESTED_SVM_SHARED_PAT: Final = 0x800
KVM_STATE_NESTED_FORMAT_VMX: Final = 0
KVM_STATE_NESTED_FORMAT_SVM: Final = 1
KVM_STATE_NESTED_GUEST_MODE: Final = 1
KVM_STATE_NESTED_RUN_PENDING: Final = 2
KVM_STATE_NESTED_EVMCS: Final = 4
KVM_STATE_NESTED_MTF_PENDING: Final = 8
KVM_STATE_NESTED_GIF_SET: Final = 0x100
KVM_STATE_NESTED_SMM_GUEST_MODE: Final = 1
KVM_STATE_NESTED_SMM_VMXON: Final = 2
KVM_STATE_NESTED_VMX_VMCS_SIZE: Final = 0x1000
KVM_STATE_NESTED_SVM_VMCB_SIZE: Final = 0x1000
KVM_STATE_VMX_PREEMPTION_TIMER_DEADLINE: Final = 1
KVM_X86_GRP_SYSTEM: Final = 0
KVM_X86_XCOMP_GUEST_SUPP: Final = 0
KVM_X86_GRP_SEV: Final = 1
KVM_X86_SEV_VMSA_FEATURES: Final = 0
KVM_X86_SNP_POLICY_BITS: Final = 1
KVM_X86_SEV_SNP_REQ_CERTS: Final = 2
KVM_PMU_EVENT_ALLOW: Final = 0
KVM_PMU_EVENT_DENY: Final = 1
KVM_PMU_EVENT_FLAG_MASKED_EVENTS: Final = 1
KVM_PMU_EVENT_FLAGS_VALID_MASK: Final = 1
KVM_XEN_HVM_CONFIG_HYPERCALL_MSR: Final = 1
KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL: Final = 2
KVM_XEN_HVM_CONFIG_SHARED_INFO: Final = 4
KVM_XEN_HVM_CONFIG_RUNSTATE: Final = 8
KVM_XEN_HVM_CONFIG_EVTCHN_2LEVEL: Final = 0x10
KVM_XEN_HVM_CONFIG_EVTCHN_SEND: Final = 0x20
KVM_XEN_HVM_CONFIG_RUNSTATE_UPDATE_FLAG: Final = 0x40
KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE: Final = 0x80
KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA: Final = 0x100
KVM_XEN_MSR_MIN_INDEX: Final = 0x40000000
KVM_XEN_MSR_MAX_INDEX: Final = 0x4fffffff
KVM_XEN_INVALID_GFN: Final = 0xffffffffffffffff
KVM_XEN_EVTCHN_DEASSIGN: Final = 1
KVM_XEN_EVTCHN_UPDATE: Final = 2
KVM_XEN_EVTCHN_RESET: Final = 4
KVM_XEN_ATTR_TYPE_LONG_MODE: Final = 0
KVM_XEN_ATTR_TYPE_SHARED_INFO: Final = 1
KVM_XEN_ATTR_TYPE_UPCALL_VECTOR: Final = 2
KVM_XEN_ATTR_TYPE_EVTCHN: Final = 3
KVM_XEN_ATTR_TYPE_XEN_VERSION: Final = 4
KVM_XEN_ATTR_TYPE_RUNSTATE_UPDATE_FLAG: Final = 5
KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA: Final = 6
KVM_XEN_INVALID_GPA: Final = 0xffffffffffffffff
KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO: Final = 0
KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO: Final = 1
KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR: Final = 2
KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_CURRENT: Final = 3
KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_DATA: Final = 4
KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADJUST: Final = 5
KVM_XEN_VCPU_ATTR_TYPE_VCPU_ID: Final = 6
KVM_XEN_VCPU_ATTR_TYPE_TIMER: Final = 7
KVM_XEN_VCPU_ATTR_TYPE_UPCALL_VECTOR: Final = 8
KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA: Final = 9
KVM_SEV_PAGE_TYPE_INVALID: Final = 0
KVM_SEV_SNP_PAGE_TYPE_NORMAL: Final = 1
KVM_SEV_SNP_PAGE_TYPE_ZERO: Final = 3
KVM_SEV_SNP_PAGE_TYPE_UNMEASURED: Final = 4
KVM_SEV_SNP_PAGE_TYPE_SECRETS: Final = 5
KVM_SEV_SNP_PAGE_TYPE_CPUID: Final = 6
KVM_SEV_SNP_ID_BLOCK_SIZE: Final = 96
KVM_SEV_SNP_ID_AUTH_SIZE: Final = 4096
KVM_SEV_SNP_FINISH_DATA_SIZE: Final = 32
KVM_X2APIC_API_USE_32BIT_IDS: Final = 1
KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK: Final = 2
KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST: Final = 4
KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST: Final = 8
KVM_HYPERV_CONN_ID_MASK: Final = 0xffffff
KVM_HYPERV_EVENTFD_DEASSIGN: Final = 1
KVM_PMU_MASKED_ENTRY_EVENT_SELECT: Final = 0xf000000ff
KVM_PMU_MASKED_ENTRY_UMASK_MASK: Final = 0xff00000000000000
KVM_PMU_MASKED_ENTRY_UMASK_MATCH: Final = 0xff00
KVM_PMU_MASKED_ENTRY_EXCLUDE: Final = 0x80000000000000
KVM_PMU_MASKED_ENTRY_UMASK_MASK_SHIFT: Final = 56
KVM_VCPU_TSC_CTRL: Final = 0
KVM_VCPU_TSC_OFFSET: Final = 0
KVM_EXIT_HYPERCALL_LONG_MODE: Final = 1
KVM_X86_DEFAULT_VM: Final = 0
KVM_X86_SW_PROTECTED_VM: Final = 1
KVM_X86_SEV_VM: Final = 2
KVM_X86_SEV_ES_VM: Final = 3
KVM_X86_SNP_VM: Final = 4
KVM_X86_TDX_VM: Final = 5
KVM_TDX_MEASURE_MEMORY_REGION: Final = 1
KVM_API_VERSION: Final = 12
KVM_MEM_LOG_DIRTY_PAGES: Final = 1
KVM_MEM_READONLY: Final = 2
KVM_MEM_GUEST_MEMFD: Final = 4
KVM_PIT_SPEAKER_DUMMY: Final = 1
KVM_EXIT_HYPERV_SYNIC: Final = 1
KVM_EXIT_HYPERV_HCALL: Final = 2
KVM_EXIT_HYPERV_SYNDBG: Final = 3
KVM_EXIT_XEN_HCALL: Final = 1
KVM_S390_GET_SKEYS_NONE: Final = 1
KVM_S390_SKEYS_MAX: Final = 1048576
KVM_EXIT_UNKNOWN: Final = 0
KVM_EXIT_EXCEPTION: Final = 1
KVM_EXIT_IO: Final = 2
KVM_EXIT_HYPERCALL: Final = 3
KVM_EXIT_DEBUG: Final = 4
KVM_EXIT_HLT: Final = 5
KVM_EXIT_MMIO: Final = 6
KVM_EXIT_IRQ_WINDOW_OPEN: Final = 7
KVM_EXIT_SHUTDOWN: Final = 8
KVM_EXIT_FAIL_ENTRY: Final = 9
KVM_EXIT_INTR: Final = 10
KVM_EXIT_SET_TPR: Final = 11
KVM_EXIT_TPR_ACCESS: Final = 12
KVM_EXIT_S390_SIEIC: Final = 13
KVM_EXIT_S390_RESET: Final = 14
KVM_EXIT_DCR: Final = 15
KVM_EXIT_NMI: Final = 16
KVM_EXIT_INTERNAL_ERROR: Final = 17
KVM_EXIT_OSI: Final = 18
KVM_EXIT_PAPR_HCALL: Final = 19
KVM_EXIT_S390_UCONTROL: Final = 20
KVM_EXIT_WATCHDOG: Final = 21
KVM_EXIT_S390_TSCH: Final = 22
KVM_EXIT_EPR: Final = 23
KVM_EXIT_SYSTEM_EVENT: Final = 24
KVM_EXIT_S390_STSI: Final = 25
KVM_EXIT_IOAPIC_EOI: Final = 26
KVM_EXIT_HYPERV: Final = 27
KVM_EXIT_ARM_NISV: Final = 28
KVM_EXIT_X86_RDMSR: Final = 29
KVM_EXIT_X86_WRMSR: Final = 30
KVM_EXIT_DIRTY_RING_FULL: Final = 31
KVM_EXIT_AP_RESET_HOLD: Final = 32
KVM_EXIT_X86_BUS_LOCK: Final = 33
KVM_EXIT_XEN: Final = 34
KVM_EXIT_RISCV_SBI: Final = 35
KVM_EXIT_RISCV_CSR: Final = 36
KVM_EXIT_NOTIFY: Final = 37
KVM_EXIT_LOONGARCH_IOCSR: Final = 38
KVM_EXIT_MEMORY_FAULT: Final = 39
KVM_EXIT_TDX: Final = 40
KVM_EXIT_ARM_SEA: Final = 41
KVM_EXIT_ARM_LDST64B: Final = 42
KVM_EXIT_SNP_REQ_CERTS: Final = 43
KVM_INTERNAL_ERROR_EMULATION: Final = 1
KVM_INTERNAL_ERROR_SIMUL_EX: Final = 2
KVM_INTERNAL_ERROR_DELIVERY_EV: Final = 3
KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: Final = 4
KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES: Final = 1
KVM_EXIT_IO_IN: Final = 0
KVM_EXIT_IO_OUT: Final = 1
KVM_SYSTEM_EVENT_SHUTDOWN: Final = 1
KVM_SYSTEM_EVENT_RESET: Final = 2
KVM_SYSTEM_EVENT_CRASH: Final = 3
KVM_SYSTEM_EVENT_WAKEUP: Final = 4
KVM_SYSTEM_EVENT_SUSPEND: Final = 5
KVM_SYSTEM_EVENT_SEV_TERM: Final = 6
KVM_SYSTEM_EVENT_TDX_FATAL: Final = 7
KVM_MSR_EXIT_REASON_INVAL: Final = 1
KVM_MSR_EXIT_REASON_UNKNOWN: Final = 2
KVM_MSR_EXIT_REASON_FILTER: Final = 4
KVM_MSR_EXIT_REASON_VALID_MASK: Final = 7
KVM_NOTIFY_CONTEXT_INVALID: Final = 1
KVM_MEMORY_EXIT_FLAG_PRIVATE: Final = 8
KVM_EXIT_ARM_SEA_FLAG_GPA_VALID: Final = 1
SYNC_REGS_SIZE_BYTES: Final = 2048
KVM_MP_STATE_RUNNABLE: Final = 0
KVM_MP_STATE_UNINITIALIZED: Final = 1
KVM_MP_STATE_INIT_RECEIVED: Final = 2
KVM_MP_STATE_HALTED: Final = 3
KVM_MP_STATE_SIPI_RECEIVED: Final = 4
KVM_MP_STATE_STOPPED: Final = 5
KVM_MP_STATE_CHECK_STOP: Final = 6
KVM_MP_STATE_OPERATING: Final = 7
KVM_MP_STATE_LOAD: Final = 8
KVM_MP_STATE_AP_RESET_HOLD: Final = 9
KVM_MP_STATE_SUSPENDED: Final = 10
KVM_GUESTDBG_ENABLE: Final = 1
KVM_GUESTDBG_SINGLESTEP: Final = 2
KVM_IOEVENTFD_FLAG_DATAMATCH: Final = 1
KVM_IOEVENTFD_FLAG_PIO: Final = 2
KVM_IOEVENTFD_FLAG_DEASSIGN: Final = 4
KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY: Final = 8
KVM_IOEVENTFD_VALID_FLAG_MASK: Final = 0x1f
KVM_X86_DISABLE_EXITS_MWAIT: Final = 1
KVM_X86_DISABLE_EXITS_HLT: Final = 2
KVM_X86_DISABLE_EXITS_PAUSE: Final = 4
KVM_X86_DISABLE_EXITS_CSTATE: Final = 8
KVM_X86_DISABLE_EXITS_APERFMPERF: Final = 0x10
KVMIO: Final = 0xae
KVM_VM_S390_UCONTROL: Final = 1
KVM_VM_PPC_HV: Final = 1
KVM_VM_PPC_PR: Final = 2
KVM_VM_MIPS_AUTO: Final = 0
KVM_VM_MIPS_VZ: Final = 1
KVM_VM_MIPS_TE: Final = 2
KVM_S390_SIE_PAGE_OFFSET: Final = 1
KVM_VM_TYPE_ARM_IPA_SIZE_MASK: Final = 0xff
KVM_VM_TYPE_ARM_PROTECTED: Final = 0x80000000
KVM_VM_TYPE_ARM_MASK: Final = 0x800000ff
KVM_GET_API_VERSION: Final = 0xae00
KVM_CREATE_VM: Final = 0xae01
KVM_GET_MSR_INDEX_LIST: Final = 0xc004ae02
KVM_S390_ENABLE_SIE: Final = 0xae06
KVM_CHECK_EXTENSION: Final = 0xae03
KVM_GET_VCPU_MMAP_SIZE: Final = 0xae04
KVM_GET_SUPPORTED_CPUID: Final = 0xc008ae05
KVM_GET_EMULATED_CPUID: Final = 0xc008ae09
KVM_GET_MSR_FEATURE_INDEX_LIST: Final = 0xc004ae0a
KVM_CAP_IRQCHIP: Final = 0
KVM_CAP_HLT: Final = 1
KVM_CAP_MMU_SHADOW_CACHE_CONTROL: Final = 2
KVM_CAP_USER_MEMORY: Final = 3
KVM_CAP_SET_TSS_ADDR: Final = 4
KVM_CAP_VAPIC: Final = 6
KVM_CAP_EXT_CPUID: Final = 7
KVM_CAP_CLOCKSOURCE: Final = 8
KVM_CAP_NR_VCPUS: Final = 9
KVM_CAP_NR_MEMSLOTS: Final = 10
KVM_CAP_PIT: Final = 11
KVM_CAP_NOP_IO_DELAY: Final = 12
KVM_CAP_PV_MMU: Final = 13
KVM_CAP_MP_STATE: Final = 14
KVM_CAP_COALESCED_MMIO: Final = 15
KVM_CAP_SYNC_MMU: Final = 16
KVM_CAP_IOMMU: Final = 18
KVM_CAP_DESTROY_MEMORY_REGION_WORKS: Final = 21
KVM_CAP_USER_NMI: Final = 22
KVM_CAP_SET_GUEST_DEBUG: Final = 23
KVM_CAP_REINJECT_CONTROL: Final = 24
KVM_CAP_IRQ_ROUTING: Final = 25
KVM_CAP_IRQ_INJECT_STATUS: Final = 26
KVM_CAP_ASSIGN_DEV_IRQ: Final = 29
KVM_CAP_JOIN_MEMORY_REGIONS_WORKS: Final = 30
KVM_CAP_MCE: Final = 31
KVM_CAP_IRQFD: Final = 32
KVM_CAP_PIT2: Final = 33
KVM_CAP_SET_BOOT_CPU_ID: Final = 34
KVM_CAP_PIT_STATE2: Final = 35
KVM_CAP_IOEVENTFD: Final = 36
KVM_CAP_SET_IDENTITY_MAP_ADDR: Final = 37
KVM_CAP_XEN_HVM: Final = 38
KVM_CAP_ADJUST_CLOCK: Final = 39
KVM_CAP_INTERNAL_ERROR_DATA: Final = 40
KVM_CAP_VCPU_EVENTS: Final = 41
KVM_CAP_S390_PSW: Final = 42
KVM_CAP_PPC_SEGSTATE: Final = 43
KVM_CAP_HYPERV: Final = 44
KVM_CAP_HYPERV_VAPIC: Final = 45
KVM_CAP_HYPERV_SPIN: Final = 46
KVM_CAP_PCI_SEGMENT: Final = 47
KVM_CAP_PPC_PAIRED_SINGLES: Final = 48
KVM_CAP_INTR_SHADOW: Final = 49
KVM_CAP_DEBUGREGS: Final = 50
KVM_CAP_X86_ROBUST_SINGLESTEP: Final = 51
KVM_CAP_PPC_OSI: Final = 52
KVM_CAP_PPC_UNSET_IRQ: Final = 53
KVM_CAP_ENABLE_CAP: Final = 54
KVM_CAP_XSAVE: Final = 55
KVM_CAP_XCRS: Final = 56
KVM_CAP_PPC_GET_PVINFO: Final = 57
KVM_CAP_PPC_IRQ_LEVEL: Final = 58
KVM_CAP_ASYNC_PF: Final = 59
KVM_CAP_TSC_CONTROL: Final = 60
KVM_CAP_GET_TSC_KHZ: Final = 61
KVM_CAP_PPC_BOOKE_SREGS: Final = 62
KVM_CAP_SPAPR_TCE: Final = 63
KVM_CAP_PPC_SMT: Final = 64
KVM_CAP_PPC_RMA: Final = 65
KVM_CAP_MAX_VCPUS: Final = 66
KVM_CAP_PPC_HIOR: Final = 67
KVM_CAP_PPC_PAPR: Final = 68
KVM_CAP_SW_TLB: Final = 69
KVM_CAP_ONE_REG: Final = 70
KVM_CAP_S390_GMAP: Final = 71
KVM_CAP_TSC_DEADLINE_TIMER: Final = 72
KVM_CAP_S390_UCONTROL: Final = 73
KVM_CAP_SYNC_REGS: Final = 74
KVM_CAP_PCI_2_3: Final = 75
KVM_CAP_KVMCLOCK_CTRL: Final = 76
KVM_CAP_SIGNAL_MSI: Final = 77
KVM_CAP_PPC_GET_SMMU_INFO: Final = 78
KVM_CAP_S390_COW: Final = 79
KVM_CAP_PPC_ALLOC_HTAB: Final = 80
KVM_CAP_READONLY_MEM: Final = 81
KVM_CAP_IRQFD_RESAMPLE: Final = 82
KVM_CAP_PPC_BOOKE_WATCHDOG: Final = 83
KVM_CAP_PPC_HTAB_FD: Final = 84
KVM_CAP_S390_CSS_SUPPORT: Final = 85
KVM_CAP_PPC_EPR: Final = 86
KVM_CAP_ARM_PSCI: Final = 87
KVM_CAP_ARM_SET_DEVICE_ADDR: Final = 88
KVM_CAP_DEVICE_CTRL: Final = 89
KVM_CAP_IRQ_MPIC: Final = 90
KVM_CAP_PPC_RTAS: Final = 91
KVM_CAP_IRQ_XICS: Final = 92
KVM_CAP_ARM_EL1_32BIT: Final = 93
KVM_CAP_SPAPR_MULTITCE: Final = 94
KVM_CAP_EXT_EMUL_CPUID: Final = 95
KVM_CAP_HYPERV_TIME: Final = 96
KVM_CAP_IOAPIC_POLARITY_IGNORED: Final = 97
KVM_CAP_ENABLE_CAP_VM: Final = 98
KVM_CAP_S390_IRQCHIP: Final = 99
KVM_CAP_IOEVENTFD_NO_LENGTH: Final = 100
KVM_CAP_VM_ATTRIBUTES: Final = 101
KVM_CAP_ARM_PSCI_0_2: Final = 102
KVM_CAP_PPC_FIXUP_HCALL: Final = 103
KVM_CAP_PPC_ENABLE_HCALL: Final = 104
KVM_CAP_CHECK_EXTENSION_VM: Final = 105
KVM_CAP_S390_USER_SIGP: Final = 106
KVM_CAP_S390_VECTOR_REGISTERS: Final = 107
KVM_CAP_S390_MEM_OP: Final = 108
KVM_CAP_S390_USER_STSI: Final = 109
KVM_CAP_S390_SKEYS: Final = 110
KVM_CAP_MIPS_FPU: Final = 111
KVM_CAP_MIPS_MSA: Final = 112
KVM_CAP_S390_INJECT_IRQ: Final = 113
KVM_CAP_S390_IRQ_STATE: Final = 114
KVM_CAP_PPC_HWRNG: Final = 115
KVM_CAP_DISABLE_QUIRKS: Final = 116
KVM_CAP_X86_SMM: Final = 117
KVM_CAP_MULTI_ADDRESS_SPACE: Final = 118
KVM_CAP_GUEST_DEBUG_HW_BPS: Final = 119
KVM_CAP_GUEST_DEBUG_HW_WPS: Final = 120
KVM_CAP_SPLIT_IRQCHIP: Final = 121
KVM_CAP_IOEVENTFD_ANY_LENGTH: Final = 122
KVM_CAP_HYPERV_SYNIC: Final = 123
KVM_CAP_S390_RI: Final = 124
KVM_CAP_SPAPR_TCE_64: Final = 125
KVM_CAP_ARM_PMU_V3: Final = 126
KVM_CAP_VCPU_ATTRIBUTES: Final = 127
KVM_CAP_MAX_VCPU_ID: Final = 128
KVM_CAP_X2APIC_API: Final = 129
KVM_CAP_S390_USER_INSTR0: Final = 130
KVM_CAP_MSI_DEVID: Final = 131
KVM_CAP_PPC_HTM: Final = 132
KVM_CAP_SPAPR_RESIZE_HPT: Final = 133
KVM_CAP_PPC_MMU_RADIX: Final = 134
KVM_CAP_PPC_MMU_HASH_V3: Final = 135
KVM_CAP_IMMEDIATE_EXIT: Final = 136
KVM_CAP_MIPS_VZ: Final = 137
KVM_CAP_MIPS_TE: Final = 138
KVM_CAP_MIPS_64BIT: Final = 139
KVM_CAP_S390_GS: Final = 140
KVM_CAP_S390_AIS: Final = 141
KVM_CAP_SPAPR_TCE_VFIO: Final = 142
KVM_CAP_X86_DISABLE_EXITS: Final = 143
KVM_CAP_ARM_USER_IRQ: Final = 144
KVM_CAP_S390_CMMA_MIGRATION: Final = 145
KVM_CAP_PPC_FWNMI: Final = 146
KVM_CAP_PPC_SMT_POSSIBLE: Final = 147
KVM_CAP_HYPERV_SYNIC2: Final = 148
KVM_CAP_HYPERV_VP_INDEX: Final = 149
KVM_CAP_S390_AIS_MIGRATION: Final = 150
KVM_CAP_PPC_GET_CPU_CHAR: Final = 151
KVM_CAP_S390_BPB: Final = 152
KVM_CAP_GET_MSR_FEATURES: Final = 153
KVM_CAP_HYPERV_EVENTFD: Final = 154
KVM_CAP_HYPERV_TLBFLUSH: Final = 155
KVM_CAP_S390_HPAGE_1M: Final = 156
KVM_CAP_NESTED_STATE: Final = 157
KVM_CAP_ARM_INJECT_SERROR_ESR: Final = 158
KVM_CAP_MSR_PLATFORM_INFO: Final = 159
KVM_CAP_PPC_NESTED_HV: Final = 160
KVM_CAP_HYPERV_SEND_IPI: Final = 161
KVM_CAP_COALESCED_PIO: Final = 162
KVM_CAP_HYPERV_ENLIGHTENED_VMCS: Final = 163
KVM_CAP_EXCEPTION_PAYLOAD: Final = 164
KVM_CAP_ARM_VM_IPA_SIZE: Final = 165
KVM_CAP_MANUAL_DIRTY_LOG_PROTECT: Final = 166
KVM_CAP_HYPERV_CPUID: Final = 167
KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: Final = 168
KVM_CAP_PPC_IRQ_XIVE: Final = 169
KVM_CAP_ARM_SVE: Final = 170
KVM_CAP_ARM_PTRAUTH_ADDRESS: Final = 171
KVM_CAP_ARM_PTRAUTH_GENERIC: Final = 172
KVM_CAP_PMU_EVENT_FILTER: Final = 173
KVM_CAP_ARM_IRQ_LINE_LAYOUT_2: Final = 174
KVM_CAP_HYPERV_DIRECT_TLBFLUSH: Final = 175
KVM_CAP_PPC_GUEST_DEBUG_SSTEP: Final = 176
KVM_CAP_ARM_NISV_TO_USER: Final = 177
KVM_CAP_ARM_INJECT_EXT_DABT: Final = 178
KVM_CAP_S390_VCPU_RESETS: Final = 179
KVM_CAP_S390_PROTECTED: Final = 180
KVM_CAP_PPC_SECURE_GUEST: Final = 181
KVM_CAP_HALT_POLL: Final = 182
KVM_CAP_ASYNC_PF_INT: Final = 183
KVM_CAP_LAST_CPU: Final = 184
KVM_CAP_SMALLER_MAXPHYADDR: Final = 185
KVM_CAP_S390_DIAG318: Final = 186
KVM_CAP_STEAL_TIME: Final = 187
KVM_CAP_X86_USER_SPACE_MSR: Final = 188
KVM_CAP_X86_MSR_FILTER: Final = 189
KVM_CAP_ENFORCE_PV_FEATURE_CPUID: Final = 190
KVM_CAP_SYS_HYPERV_CPUID: Final = 191
KVM_CAP_DIRTY_LOG_RING: Final = 192
KVM_CAP_X86_BUS_LOCK_EXIT: Final = 193
KVM_CAP_PPC_DAWR1: Final = 194
KVM_CAP_SET_GUEST_DEBUG2: Final = 195
KVM_CAP_SGX_ATTRIBUTE: Final = 196
KVM_CAP_VM_COPY_ENC_CONTEXT_FROM: Final = 197
KVM_CAP_PTP_KVM: Final = 198
KVM_CAP_HYPERV_ENFORCE_CPUID: Final = 199
KVM_CAP_SREGS2: Final = 200
KVM_CAP_EXIT_HYPERCALL: Final = 201
KVM_CAP_PPC_RPT_INVALIDATE: Final = 202
KVM_CAP_BINARY_STATS_FD: Final = 203
KVM_CAP_EXIT_ON_EMULATION_FAILURE: Final = 204
KVM_CAP_ARM_MTE: Final = 205
KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM: Final = 206
KVM_CAP_VM_GPA_BITS: Final = 207
KVM_CAP_XSAVE2: Final = 208
KVM_CAP_SYS_ATTRIBUTES: Final = 209
KVM_CAP_PPC_AIL_MODE_3: Final = 210
KVM_CAP_S390_MEM_OP_EXTENSION: Final = 211
KVM_CAP_PMU_CAPABILITY: Final = 212
KVM_CAP_DISABLE_QUIRKS2: Final = 213
KVM_CAP_VM_TSC_CONTROL: Final = 214
KVM_CAP_SYSTEM_EVENT_DATA: Final = 215
KVM_CAP_ARM_SYSTEM_SUSPEND: Final = 216
KVM_CAP_S390_PROTECTED_DUMP: Final = 217
KVM_CAP_X86_TRIPLE_FAULT_EVENT: Final = 218
KVM_CAP_X86_NOTIFY_VMEXIT: Final = 219
KVM_CAP_VM_DISABLE_NX_HUGE_PAGES: Final = 220
KVM_CAP_S390_ZPCI_OP: Final = 221
KVM_CAP_S390_CPU_TOPOLOGY: Final = 222
KVM_CAP_DIRTY_LOG_RING_ACQ_REL: Final = 223
KVM_CAP_S390_PROTECTED_ASYNC_DISABLE: Final = 224
KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP: Final = 225
KVM_CAP_PMU_EVENT_MASKED_EVENTS: Final = 226
KVM_CAP_COUNTER_OFFSET: Final = 227
KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE: Final = 228
KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES: Final = 229
KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES: Final = 230
KVM_CAP_USER_MEMORY2: Final = 231
KVM_CAP_MEMORY_FAULT_INFO: Final = 232
KVM_CAP_MEMORY_ATTRIBUTES: Final = 233
KVM_CAP_GUEST_MEMFD: Final = 234
KVM_CAP_VM_TYPES: Final = 235
KVM_CAP_PRE_FAULT_MEMORY: Final = 236
KVM_CAP_X86_APIC_BUS_CYCLES_NS: Final = 237
KVM_CAP_X86_GUEST_MODE: Final = 238
KVM_CAP_ARM_WRITABLE_IMP_ID_REGS: Final = 239
KVM_CAP_ARM_EL2: Final = 240
KVM_CAP_ARM_EL2_E2H0: Final = 241
KVM_CAP_RISCV_MP_STATE_RESET: Final = 242
KVM_CAP_ARM_CACHEABLE_PFNMAP_SUPPORTED: Final = 243
KVM_CAP_GUEST_MEMFD_FLAGS: Final = 244
KVM_CAP_ARM_SEA_TO_USER: Final = 245
KVM_CAP_S390_USER_OPEREXEC: Final = 246
KVM_CAP_S390_KEYOP: Final = 247
KVM_CAP_S390_VSIE_ESAMODE: Final = 248
KVM_CAP_S390_HPAGE_2G: Final = 249
KVM_CAP_PPC_COMPAT_CAPS: Final = 250
KVM_CAP_ARM_PMU_V3_STRICT: Final = 251
KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL: Final = 0xffffffff
KVM_IRQ_ROUTING_IRQCHIP: Final = 1
KVM_IRQ_ROUTING_MSI: Final = 2
KVM_IRQ_ROUTING_S390_ADAPTER: Final = 3
KVM_IRQ_ROUTING_HV_SINT: Final = 4
KVM_IRQ_ROUTING_XEN_EVTCHN: Final = 5
KVM_IRQFD_FLAG_DEASSIGN: Final = 1
KVM_IRQFD_FLAG_RESAMPLE: Final = 2
KVM_CLOCK_TSC_STABLE: Final = 2
KVM_CLOCK_REALTIME: Final = 4
KVM_CLOCK_HOST_TSC: Final = 8
KVM_MMU_FSL_BOOKE_NOHV: Final = 0
KVM_MMU_FSL_BOOKE_HV: Final = 1
KVM_REG_ARCH_MASK: Final = 0xff00000000000000
KVM_REG_GENERIC: Final = 0
KVM_REG_PPC: Final = 0x1000000000000000
KVM_REG_X86: Final = 0x2000000000000000
KVM_REG_IA64: Final = 0x3000000000000000
KVM_REG_ARM: Final = 0x4000000000000000
KVM_REG_S390: Final = 0x5000000000000000
KVM_REG_ARM64: Final = 0x6000000000000000
KVM_REG_MIPS: Final = 0x7000000000000000
KVM_REG_RISCV: Final = 0x8000000000000000
KVM_REG_LOONGARCH: Final = 0x9000000000000000
KVM_REG_SIZE_SHIFT: Final = 52
KVM_REG_SIZE_MASK: Final = 0xf0000000000000
KVM_REG_SIZE_U8: Final = 0
KVM_REG_SIZE_U16: Final = 0x10000000000000
KVM_REG_SIZE_U32: Final = 0x20000000000000
KVM_REG_SIZE_U64: Final = 0x30000000000000
KVM_REG_SIZE_U128: Final = 0x40000000000000
KVM_REG_SIZE_U256: Final = 0x50000000000000
KVM_REG_SIZE_U512: Final = 0x60000000000000
KVM_REG_SIZE_U1024: Final = 0x70000000000000
KVM_REG_SIZE_U2048: Final = 0x80000000000000
KVM_MSI_VALID_DEVID: Final = 1
KVM_CREATE_DEVICE_TEST: Final = 1
KVM_DEV_VFIO_FILE: Final = 1
KVM_DEV_VFIO_FILE_ADD: Final = 1
KVM_DEV_VFIO_FILE_DEL: Final = 2
KVM_DEV_VFIO_GROUP: Final = 1
KVM_DEV_VFIO_GROUP_ADD: Final = 1
KVM_DEV_VFIO_GROUP_DEL: Final = 2
KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE: Final = 3
KVM_S390_KEYOP_ISKE: Final = 1
KVM_S390_KEYOP_RRBE: Final = 2
KVM_S390_KEYOP_SSKE: Final = 3
KVM_CREATE_VCPU: Final = 0xae41
KVM_GET_DIRTY_LOG: Final = 0x4010ae42
KVM_SET_NR_MMU_PAGES: Final = 0xae44
KVM_GET_NR_MMU_PAGES: Final = 0xae45
KVM_SET_USER_MEMORY_REGION: Final = 0x4020ae46
KVM_SET_TSS_ADDR: Final = 0xae47
KVM_SET_IDENTITY_MAP_ADDR: Final = 0x4008ae48
KVM_SET_USER_MEMORY_REGION2: Final = 0x40a0ae49
KVM_S390_VCPU_FAULT: Final = 0x4008ae52
KVM_S390_KEYOP: Final = 0xc010ae53
KVM_CREATE_IRQCHIP: Final = 0xae60
KVM_IRQ_LINE: Final = 0x4008ae61
KVM_GET_IRQCHIP: Final = 0xc208ae62
KVM_SET_IRQCHIP: Final = 0x8208ae63
KVM_CREATE_PIT: Final = 0xae64
KVM_GET_PIT: Final = 0xc048ae65
KVM_SET_PIT: Final = 0x8048ae66
KVM_IRQ_LINE_STATUS: Final = 0xc008ae67
KVM_REGISTER_COALESCED_MMIO: Final = 0x4010ae67
KVM_UNREGISTER_COALESCED_MMIO: Final = 0x4010ae68
KVM_SET_GSI_ROUTING: Final = 0x4008ae6a
KVM_REINJECT_CONTROL: Final = 0xae71
KVM_IRQFD: Final = 0x4020ae76
KVM_CREATE_PIT2: Final = 0x4040ae77
KVM_SET_BOOT_CPU_ID: Final = 0xae78
KVM_IOEVENTFD: Final = 0x4040ae79
KVM_XEN_HVM_CONFIG: Final = 0x4038ae7a
KVM_SET_CLOCK: Final = 0x4030ae7b
KVM_GET_CLOCK: Final = 0x8030ae7c
KVM_GET_PIT2: Final = 0x8070ae9f
KVM_SET_PIT2: Final = 0x4070aea0
KVM_SET_TSC_KHZ: Final = 0xaea2
KVM_GET_TSC_KHZ: Final = 0xaea3
KVM_SIGNAL_MSI: Final = 0x4020aea5
KVM_PPC_ALLOCATE_HTAB: Final = 0xc004aea7
KVM_ARM_SET_DEVICE_ADDR: Final = 0x4010aeab
KVM_SET_PMU_EVENT_FILTER: Final = 0x4020aeb2
KVM_PPC_SVM_OFF: Final = 0xaeb3
KVM_PPC_GET_COMPAT_CAPS: Final = 0xaeb8
KVM_CREATE_DEVICE: Final = 0xc00caee0
KVM_SET_DEVICE_ATTR: Final = 0x4018aee1
KVM_GET_DEVICE_ATTR: Final = 0x4018aee2
KVM_HAS_DEVICE_ATTR: Final = 0x4018aee3
KVM_RUN: Final = 0xae80
KVM_GET_REGS: Final = 0x8090ae81
KVM_SET_REGS: Final = 0x4090ae82
KVM_GET_SREGS: Final = 0x8138ae83
KVM_SET_SREGS: Final = 0x4138ae84
KVM_TRANSLATE: Final = 0xc018ae85
KVM_INTERRUPT: Final = 0x4004ae86
KVM_GET_MSRS: Final = 0xc008ae88
KVM_SET_MSRS: Final = 0x4008ae89
KVM_SET_CPUID: Final = 0x4008ae8a
KVM_SET_SIGNAL_MASK: Final = 0x4004ae8b
KVM_GET_FPU: Final = 0x81a0ae8c
KVM_SET_FPU: Final = 0x41a0ae8d
KVM_GET_LAPIC: Final = 0x8400ae8e
KVM_SET_LAPIC: Final = 0x4400ae8f
KVM_SET_CPUID2: Final = 0x4008ae90
KVM_GET_CPUID2: Final = 0xc008ae91
KVM_TPR_ACCESS_REPORTING: Final = 0xc028ae92
KVM_SET_VAPIC_ADDR: Final = 0x4008ae93
KVM_S390_STORE_STATUS_NOADDR: Final = 0xffffffffffffffff
KVM_S390_STORE_STATUS_PREFIXED: Final = 0xfffffffffffffffe
KVM_S390_STORE_STATUS: Final = 0x4008ae95
KVM_S390_INITIAL_RESET: Final = 0xae97
KVM_GET_MP_STATE: Final = 0x8004ae98
KVM_SET_MP_STATE: Final = 0x4004ae99
KVM_NMI: Final = 0xae9a
KVM_SET_GUEST_DEBUG: Final = 0x4048ae9b
KVM_X86_SETUP_MCE: Final = 0x4008ae9c
KVM_X86_GET_MCE_CAP_SUPPORTED: Final = 0x8008ae9d
KVM_X86_SET_MCE: Final = 0x4040ae9e
KVM_GET_VCPU_EVENTS: Final = 0x8040ae9f
KVM_SET_VCPU_EVENTS: Final = 0x4040aea0
KVM_GET_DEBUGREGS: Final = 0x8080aea1
KVM_SET_DEBUGREGS: Final = 0x4080aea2
KVM_ENABLE_CAP: Final = 0x4068aea3
KVM_GET_XSAVE: Final = 0x9000aea4
KVM_SET_XSAVE: Final = 0x5000aea5
KVM_GET_XCRS: Final = 0x8188aea6
KVM_SET_XCRS: Final = 0x4188aea7
KVM_DIRTY_TLB: Final = 0x4010aeaa
KVM_GET_ONE_REG: Final = 0x4010aeab
KVM_SET_ONE_REG: Final = 0x4010aeac
KVM_KVMCLOCK_CTRL: Final = 0xaead
KVM_GET_REG_LIST: Final = 0xc008aeb0
KVM_SMI: Final = 0xaeb7
KVM_MEMORY_ENCRYPT_OP: Final = 0xc008aeba
KVM_MEMORY_ENCRYPT_REG_REGION: Final = 0x8010aebb
KVM_MEMORY_ENCRYPT_UNREG_REGION: Final = 0x8010aebc
KVM_HYPERV_EVENTFD: Final = 0x4018aebd
KVM_GET_NESTED_STATE: Final = 0xc080aebe
KVM_SET_NESTED_STATE: Final = 0x4080aebf
KVM_CLEAR_DIRTY_LOG: Final = 0xc018aec0
KVM_GET_SUPPORTED_HV_CPUID: Final = 0xc008aec1
KVM_ARM_VCPU_FINALIZE: Final = 0x4004aec2
KVM_S390_NORMAL_RESET: Final = 0xaec3
KVM_S390_CLEAR_RESET: Final = 0xaec4
KVM_X86_SET_MSR_FILTER: Final = 0x4188aec6
KVM_RESET_DIRTY_RINGS: Final = 0xaec7
KVM_XEN_HVM_GET_ATTR: Final = 0xc048aec8
KVM_XEN_HVM_SET_ATTR: Final = 0x4048aec9
KVM_XEN_VCPU_GET_ATTR: Final = 0xc048aeca
KVM_XEN_VCPU_SET_ATTR: Final = 0x4048aecb
KVM_XEN_HVM_EVTCHN_SEND: Final = 0x400caed0
KVM_GET_SREGS2: Final = 0x8140aecc
KVM_SET_SREGS2: Final = 0x4140aecd
KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE: Final = 1
KVM_DIRTY_LOG_INITIALLY_SET: Final = 2
KVM_DIRTY_GFN_F_DIRTY: Final = 1
KVM_DIRTY_GFN_F_RESET: Final = 2
KVM_DIRTY_GFN_F_MASK: Final = 3
KVM_BUS_LOCK_DETECTION_OFF: Final = 1
KVM_BUS_LOCK_DETECTION_EXIT: Final = 2
KVM_PMU_CAP_DISABLE: Final = 1
KVM_STATS_TYPE_SHIFT: Final = 0
KVM_STATS_TYPE_MASK: Final = 0xf
KVM_STATS_TYPE_CUMULATIVE: Final = 0
KVM_STATS_TYPE_INSTANT: Final = 1
KVM_STATS_TYPE_PEAK: Final = 2
KVM_STATS_TYPE_LINEAR_HIST: Final = 3
KVM_STATS_TYPE_LOG_HIST: Final = 4
KVM_STATS_TYPE_MAX: Final = 4
KVM_STATS_UNIT_SHIFT: Final = 4
KVM_STATS_UNIT_MASK: Final = 0xf0
KVM_STATS_UNIT_NONE: Final = 0
KVM_STATS_UNIT_BYTES: Final = 0x10
KVM_STATS_UNIT_SECONDS: Final = 0x20
KVM_STATS_UNIT_CYCLES: Final = 0x30
KVM_STATS_UNIT_BOOLEAN: Final = 0x40
KVM_STATS_UNIT_MAX: Final = 0x40
KVM_STATS_BASE_SHIFT: Final = 8
KVM_STATS_BASE_MASK: Final = 0xf00
KVM_STATS_BASE_POW10: Final = 0
KVM_STATS_BASE_POW2: Final = 0x100
KVM_STATS_BASE_MAX: Final = 0x100
KVM_GET_STATS_FD: Final = 0xaece
KVM_GET_XSAVE2: Final = 0x9000aecf
KVM_X86_NOTIFY_VMEXIT_ENABLED: Final = 1
KVM_X86_NOTIFY_VMEXIT_USER: Final = 2
KVM_SET_MEMORY_ATTRIBUTES: Final = 0x4020aed2
KVM_MEMORY_ATTRIBUTE_PRIVATE: Final = 8
KVM_CREATE_GUEST_MEMFD: Final = 0xc040aed4
GUEST_MEMFD_FLAG_MMAP: Final = 1
GUEST_MEMFD_FLAG_INIT_SHARED: Final = 2
KVM_PRE_FAULT_MEMORY: Final = 0xc040aed5
KVM_ENOSYS: Final = 1000
KVM_EFAULT: Final = 0xe
KVM_EINVAL: Final = 0x16
KVM_E2BIG: Final = 7
KVM_EPERM: Final = 1
KVM_EOPNOTSUPP: Final = 95
KVM_HC_VAPIC_POLL_IRQ: Final = 1
KVM_HC_MMU_OP: Final = 2
KVM_HC_FEATURES: Final = 3
KVM_HC_PPC_MAP_MAGIC_PAGE: Final = 4
KVM_HC_KICK_CPU: Final = 5
KVM_HC_MIPS_GET_CLOCK_FREQ: Final = 6
KVM_HC_MIPS_EXIT_VM: Final = 7
KVM_HC_MIPS_CONSOLE_OUTPUT: Final = 8
KVM_HC_CLOCK_PAIRING: Final = 9
KVM_HC_SEND_IPI: Final = 10
KVM_HC_SCHED_YIELD: Final = 11
KVM_HC_MAP_GPA_RANGE: Final = 12
KVM_CPUID_SIGNATURE: Final = 0x40000000
KVM_SIGNATURE: Final = "KVMKVMKVM\u0000\u0000\u0000"
KVM_CPUID_FEATURES: Final = 0x40000001
KVM_FEATURE_CLOCKSOURCE: Final = 0
KVM_FEATURE_NOP_IO_DELAY: Final = 1
KVM_FEATURE_MMU_OP: Final = 2
KVM_FEATURE_CLOCKSOURCE2: Final = 3
KVM_FEATURE_ASYNC_PF: Final = 4
KVM_FEATURE_STEAL_TIME: Final = 5
KVM_FEATURE_PV_EOI: Final = 6
KVM_FEATURE_PV_UNHALT: Final = 7
KVM_FEATURE_PV_TLB_FLUSH: Final = 9
KVM_FEATURE_ASYNC_PF_VMEXIT: Final = 10
KVM_FEATURE_PV_SEND_IPI: Final = 11
KVM_FEATURE_POLL_CONTROL: Final = 12
KVM_FEATURE_PV_SCHED_YIELD: Final = 13
KVM_FEATURE_ASYNC_PF_INT: Final = 14
KVM_FEATURE_MSI_EXT_DEST_ID: Final = 15
KVM_FEATURE_HC_MAP_GPA_RANGE: Final = 16
KVM_FEATURE_MIGRATION_CONTROL: Final = 17
KVM_HINTS_REALTIME: Final = 0
KVM_FEATURE_CLOCKSOURCE_STABLE_BIT: Final = 24
MSR_KVM_WALL_CLOCK: Final = 0x11
MSR_KVM_SYSTEM_TIME: Final = 0x12
KVM_MSR_ENABLED: Final = 1
MSR_KVM_WALL_CLOCK_NEW: Final = 0x4b564d00
MSR_KVM_SYSTEM_TIME_NEW: Final = 0x4b564d01
MSR_KVM_ASYNC_PF_EN: Final = 0x4b564d02
MSR_KVM_STEAL_TIME: Final = 0x4b564d03
MSR_KVM_PV_EOI_EN: Final = 0x4b564d04
MSR_KVM_POLL_CONTROL: Final = 0x4b564d05
MSR_KVM_ASYNC_PF_INT: Final = 0x4b564d06
MSR_KVM_ASYNC_PF_ACK: Final = 0x4b564d07
MSR_KVM_MIGRATION_CONTROL: Final = 0x4b564d08
KVM_VCPU_PREEMPTED: Final = 1
KVM_VCPU_FLUSH_TLB: Final = 2
KVM_CLOCK_PAIRING_WALLCLOCK: Final = 0
KVM_STEAL_ALIGNMENT_BITS: Final = 5
KVM_STEAL_VALID_BITS: Final = 0xffffffffffffffc0
KVM_STEAL_RESERVED_MASK: Final = 0x3e
KVM_MAX_MMU_OP_BATCH: Final = 32
KVM_ASYNC_PF_ENABLED: Final = 1
KVM_ASYNC_PF_SEND_ALWAYS: Final = 2
KVM_ASYNC_PF_DELIVERY_AS_PF_VMEXIT: Final = 4
KVM_ASYNC_PF_DELIVERY_AS_INT: Final = 8
KVM_ASYNC_PF_VEC_MASK: Final = 0xff
KVM_MIGRATION_READY: Final = 1
KVM_MAP_GPA_RANGE_PAGE_SZ_4K: Final = 0
KVM_MAP_GPA_RANGE_PAGE_SZ_2M: Final = 1
KVM_MAP_GPA_RANGE_PAGE_SZ_1G: Final = 2
KVM_MAP_GPA_RANGE_ENCRYPTED: Final = 0x10
KVM_MAP_GPA_RANGE_DECRYPTED: Final = 0
KVM_MMU_OP_WRITE_PTE: Final = 1
KVM_MMU_OP_FLUSH_TLB: Final = 2
KVM_MMU_OP_RELEASE_PT: Final = 3
KVM_PV_REASON_PAGE_NOT_PRESENT: Final = 1
KVM_PV_REASON_PAGE_READY: Final = 2
KVM_PV_EOI_BIT: Final = 0
KVM_PV_EOI_MASK: Final = 1
KVM_PV_EOI_ENABLED: Final = 1
KVM_PV_EOI_DISABLED: Final = 0

class kvm_pic_state(Structure):
    last_irr: int
    irr: int
    imr: int
    isr: int
    priority_add: int
    irq_base: int
    read_reg_select: int
    poll: int
    special_mask: int
    init_state: int
    auto_eoi: int
    rotate_on_auto_eoi: int
    special_fully_nested_mode: int
    init4: int
    elcr: int
    elcr_mask: int

class kvm_ioapic_state_redirtbl_fields(Structure):
    vector: int
    delivery_mode: int
    dest_mode: int
    delivery_status: int
    polarity: int
    remote_irr: int
    trig_mode: int
    mask: int
    reserve: int
    reserved: Array[ctypes.c_uint8]
    dest_id: int

class kvm_ioapic_state_redirtbl(Union):
    bits: int
    fields: kvm_ioapic_state_redirtbl_fields

class kvm_ioapic_state(Structure):
    base_address: int
    ioregsel: int
    id: int
    irr: int
    pad: int
    redirtbl: Array[kvm_ioapic_state_redirtbl]

class kvm_regs(Structure):
    rax: int
    rbx: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    rsp: int
    rbp: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    rip: int
    rflags: int

class kvm_lapic_state(Structure):
    regs: Array[ctypes.c_uint8]

class kvm_segment(Structure):
    base: int
    limit: int
    selector: int
    type: int
    present: int
    dpl: int
    db: int
    s: int
    l: int
    g: int
    avl: int
    unusable: int
    padding: int

class kvm_dtable(Structure):
    base: int
    limit: int
    padding: Array[ctypes.c_uint16]

class kvm_sregs(Structure):
    cs: kvm_segment
    ds: kvm_segment
    es: kvm_segment
    fs: kvm_segment
    gs: kvm_segment
    ss: kvm_segment
    tr: kvm_segment
    ldt: kvm_segment
    gdt: kvm_dtable
    idt: kvm_dtable
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cr8: int
    efer: int
    apic_base: int
    interrupt_bitmap: Array[ctypes.c_uint64]

class kvm_sregs2(Structure):
    cs: kvm_segment
    ds: kvm_segment
    es: kvm_segment
    fs: kvm_segment
    gs: kvm_segment
    ss: kvm_segment
    tr: kvm_segment
    ldt: kvm_segment
    gdt: kvm_dtable
    idt: kvm_dtable
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cr8: int
    efer: int
    apic_base: int
    flags: int
    pdptrs: Array[ctypes.c_uint64]

class kvm_fpu(Structure):
    fpr: Array[Array[ctypes.c_uint8]]
    fcw: int
    fsw: int
    ftwx: int
    pad1: int
    last_opcode: int
    last_ip: int
    last_dp: int
    xmm: Array[Array[ctypes.c_uint8]]
    mxcsr: int
    pad2: int

class kvm_msr_entry(Structure):
    index: int
    reserved: int
    data: int

class kvm_msrs(Structure):
    nmsrs: int
    pad: int
    entries: Array[kvm_msr_entry]

class kvm_msr_list(Structure):
    nmsrs: int
    indices: Array[ctypes.c_uint32]

class kvm_msr_filter_range(Structure):
    flags: int
    nmsrs: int
    base: int
    bitmap: int | None

class kvm_msr_filter(Structure):
    flags: int
    ranges: Array[kvm_msr_filter_range]

class kvm_cpuid_entry(Structure):
    function: int
    eax: int
    ebx: int
    ecx: int
    edx: int
    padding: int

class kvm_cpuid(Structure):
    nent: int
    padding: int
    entries: Array[kvm_cpuid_entry]

class kvm_cpuid_entry2(Structure):
    function: int
    index: int
    flags: int
    eax: int
    ebx: int
    ecx: int
    edx: int
    padding: Array[ctypes.c_uint32]

class kvm_cpuid2(Structure):
    nent: int
    padding: int
    entries: Array[kvm_cpuid_entry2]

class kvm_pit_channel_state(Structure):
    count: int
    latched_count: int
    count_latched: int
    status_latched: int
    status: int
    read_state: int
    write_state: int
    write_latch: int
    rw_mode: int
    mode: int
    bcd: int
    gate: int
    count_load_time: int

class kvm_debug_exit_arch(Structure):
    exception: int
    pad: int
    pc: int
    dr6: int
    dr7: int

class kvm_guest_debug_arch(Structure):
    debugreg: Array[ctypes.c_uint64]

class kvm_pit_state(Structure):
    channels: Array[kvm_pit_channel_state]

class kvm_pit_state2(Structure):
    channels: Array[kvm_pit_channel_state]
    flags: int
    reserved: Array[ctypes.c_uint32]

class kvm_reinject_control(Structure):
    pit_reinject: int
    reserved: Array[ctypes.c_uint8]

class kvm_vcpu_events_exception(Structure):
    injected: int
    nr: int
    has_error_code: int
    pending: int
    error_code: int

class kvm_vcpu_events_interrupt(Structure):
    injected: int
    nr: int
    soft: int
    shadow: int

class kvm_vcpu_events_nmi(Structure):
    injected: int
    pending: int
    masked: int
    pad: int

class kvm_vcpu_events_smi(Structure):
    smm: int
    pending: int
    smm_inside_nmi: int
    latched_init: int

class kvm_vcpu_events_triple_fault(Structure):
    pending: int

class kvm_vcpu_events(Structure):
    exception: kvm_vcpu_events_exception
    interrupt: kvm_vcpu_events_interrupt
    nmi: kvm_vcpu_events_nmi
    sipi_vector: int
    flags: int
    smi: kvm_vcpu_events_smi
    triple_fault: kvm_vcpu_events_triple_fault
    reserved: Array[ctypes.c_uint8]
    exception_has_payload: int
    exception_payload: int

class kvm_debugregs(Structure):
    db: Array[ctypes.c_uint64]
    dr6: int
    dr7: int
    flags: int
    reserved: Array[ctypes.c_uint64]

class kvm_xsave(Structure):
    region: Array[ctypes.c_uint32]
    extra: Array[ctypes.c_uint32]

class kvm_xcr(Structure):
    xcr: int
    reserved: int
    value: int

class kvm_xcrs(Structure):
    nr_xcrs: int
    flags: int
    xcrs: Array[kvm_xcr]
    padding: Array[ctypes.c_uint64]

class kvm_sync_regs(Structure):
    regs: kvm_regs
    sregs: kvm_sregs
    events: kvm_vcpu_events

class kvm_vmx_nested_state_data(Structure):
    vmcs12: Array[ctypes.c_uint8]
    shadow_vmcs12: Array[ctypes.c_uint8]

class kvm_vmx_nested_state_hdr_smm(Structure):
    flags: int

class kvm_vmx_nested_state_hdr(Structure):
    vmxon_pa: int
    vmcs12_pa: int
    smm: kvm_vmx_nested_state_hdr_smm
    pad: int
    flags: int
    preemption_timer_deadline: int

class kvm_svm_nested_state_data(Structure):
    vmcb12: Array[ctypes.c_uint8]

class kvm_svm_nested_state_hdr(Structure):
    vmcb_pa: int
    gpat: int

class kvm_nested_state_hdr(Union):
    vmx: kvm_vmx_nested_state_hdr
    svm: kvm_svm_nested_state_hdr
    pad: Array[ctypes.c_uint8]

class kvm_nested_state_data(Union):
    vmx: Array[kvm_vmx_nested_state_data]
    svm: Array[kvm_svm_nested_state_data]

class kvm_nested_state(Structure):
    flags: int
    format: int
    size: int
    hdr: kvm_nested_state_hdr
    data: kvm_nested_state_data

class kvm_pmu_event_filter(Structure):
    action: int
    nevents: int
    fixed_counter_bitmap: int
    flags: int
    pad: Array[ctypes.c_uint32]
    events: Array[ctypes.c_uint64]

class kvm_x86_mce(Structure):
    status: int
    addr: int
    misc: int
    mcg_status: int
    bank: int
    pad1: Array[ctypes.c_uint8]
    pad2: Array[ctypes.c_uint64]

class kvm_xen_hvm_config(Structure):
    flags: int
    msr: int
    blob_addr_32: int
    blob_addr_64: int
    blob_size_32: int
    blob_size_64: int
    pad2: Array[ctypes.c_uint8]

class kvm_xen_hvm_attr_u_shared_info(Union):
    gfn: int
    hva: int

class kvm_xen_hvm_attr_u_evtchn_deliver_port(Structure):
    port: int
    vcpu: int
    priority: int

class kvm_xen_hvm_attr_u_evtchn_deliver_eventfd(Structure):
    port: int
    fd: int

class kvm_xen_hvm_attr_u_evtchn_deliver(Union):
    port: kvm_xen_hvm_attr_u_evtchn_deliver_port
    eventfd: kvm_xen_hvm_attr_u_evtchn_deliver_eventfd
    padding: Array[ctypes.c_uint32]

class kvm_xen_hvm_attr_u_evtchn(Structure):
    send_port: int
    type: int
    flags: int
    deliver: kvm_xen_hvm_attr_u_evtchn_deliver

class kvm_xen_hvm_attr_u(Union):
    long_mode: int
    vector: int
    runstate_update_flag: int
    shared_info: kvm_xen_hvm_attr_u_shared_info
    evtchn: kvm_xen_hvm_attr_u_evtchn
    xen_version: int
    pad: Array[ctypes.c_uint64]

class kvm_xen_hvm_attr(Structure):
    type: int
    pad: Array[ctypes.c_uint16]
    u: kvm_xen_hvm_attr_u

class kvm_xen_vcpu_attr_u_runstate(Structure):
    state: int
    state_entry_time: int
    time_running: int
    time_runnable: int
    time_blocked: int
    time_offline: int

class kvm_xen_vcpu_attr_u_timer(Structure):
    port: int
    priority: int
    expires_ns: int

class kvm_xen_vcpu_attr_u(Union):
    gpa: int
    hva: int
    pad: Array[ctypes.c_uint64]
    runstate: kvm_xen_vcpu_attr_u_runstate
    vcpu_id: int
    timer: kvm_xen_vcpu_attr_u_timer
    vector: int

class kvm_xen_vcpu_attr(Structure):
    type: int
    pad: Array[ctypes.c_uint16]
    u: kvm_xen_vcpu_attr_u

class kvm_sev_cmd(Structure):
    id: int
    pad0: int
    data: int
    error: int
    sev_fd: int

class kvm_sev_init(Structure):
    vmsa_features: int
    flags: int
    ghcb_version: int
    pad1: int
    pad2: Array[ctypes.c_uint32]

class kvm_sev_launch_start(Structure):
    handle: int
    policy: int
    dh_uaddr: int
    dh_len: int
    pad0: int
    session_uaddr: int
    session_len: int
    pad1: int

class kvm_sev_launch_update_data(Structure):
    uaddr: int
    len: int
    pad0: int

class kvm_sev_launch_secret(Structure):
    hdr_uaddr: int
    hdr_len: int
    pad0: int
    guest_uaddr: int
    guest_len: int
    pad1: int
    trans_uaddr: int
    trans_len: int
    pad2: int

class kvm_sev_launch_measure(Structure):
    uaddr: int
    len: int
    pad0: int

class kvm_sev_guest_status(Structure):
    handle: int
    policy: int
    state: int

class kvm_sev_dbg(Structure):
    src_uaddr: int
    dst_uaddr: int
    len: int
    pad0: int

class kvm_sev_attestation_report(Structure):
    mnonce: Array[ctypes.c_uint8]
    uaddr: int
    len: int
    pad0: int

class kvm_sev_send_start(Structure):
    policy: int
    pad0: int
    pdh_cert_uaddr: int
    pdh_cert_len: int
    pad1: int
    plat_certs_uaddr: int
    plat_certs_len: int
    pad2: int
    amd_certs_uaddr: int
    amd_certs_len: int
    pad3: int
    session_uaddr: int
    session_len: int
    pad4: int

class kvm_sev_send_update_data(Structure):
    hdr_uaddr: int
    hdr_len: int
    pad0: int
    guest_uaddr: int
    guest_len: int
    pad1: int
    trans_uaddr: int
    trans_len: int
    pad2: int

class kvm_sev_receive_start(Structure):
    handle: int
    policy: int
    pdh_uaddr: int
    pdh_len: int
    pad0: int
    session_uaddr: int
    session_len: int
    pad1: int

class kvm_sev_receive_update_data(Structure):
    hdr_uaddr: int
    hdr_len: int
    pad0: int
    guest_uaddr: int
    guest_len: int
    pad1: int
    trans_uaddr: int
    trans_len: int
    pad2: int

class kvm_sev_snp_launch_start(Structure):
    policy: int
    gosvw: Array[ctypes.c_uint8]
    flags: int
    pad0: Array[ctypes.c_uint8]
    pad1: Array[ctypes.c_uint64]

class kvm_sev_snp_launch_update(Structure):
    gfn_start: int
    uaddr: int
    len: int
    type: int
    pad0: int
    flags: int
    pad1: int
    pad2: Array[ctypes.c_uint64]

class kvm_sev_snp_launch_finish(Structure):
    id_block_uaddr: int
    id_auth_uaddr: int
    id_block_en: int
    auth_key_en: int
    vcek_disabled: int
    host_data: Array[ctypes.c_uint8]
    pad0: Array[ctypes.c_uint8]
    flags: int
    pad1: Array[ctypes.c_uint64]

class kvm_hyperv_eventfd(Structure):
    conn_id: int
    fd: int
    flags: int
    padding: Array[ctypes.c_uint32]

class kvm_tdx_cmd(Structure):
    id: int
    flags: int
    data: int
    hw_error: int

class kvm_tdx_capabilities(Structure):
    supported_attrs: int
    supported_xfam: int
    kernel_tdvmcallinfo_1_r11: int
    user_tdvmcallinfo_1_r11: int
    kernel_tdvmcallinfo_1_r12: int
    user_tdvmcallinfo_1_r12: int
    reserved: Array[ctypes.c_uint64]
    cpuid: kvm_cpuid2

class kvm_tdx_init_vm(Structure):
    attributes: int
    xfam: int
    mrconfigid: Array[ctypes.c_uint64]
    mrowner: Array[ctypes.c_uint64]
    mrownerconfig: Array[ctypes.c_uint64]
    reserved: Array[ctypes.c_uint64]
    cpuid: kvm_cpuid2

class kvm_tdx_init_mem_region(Structure):
    source_addr: int
    gpa: int
    nr_pages: int

class kvm_userspace_memory_region(Structure):
    slot: int
    flags: int
    guest_phys_addr: int
    memory_size: int
    userspace_addr: int

class kvm_userspace_memory_region2(Structure):
    slot: int
    flags: int
    guest_phys_addr: int
    memory_size: int
    userspace_addr: int
    guest_memfd_offset: int
    guest_memfd: int
    pad1: int
    pad2: Array[ctypes.c_uint64]

class kvm_irq_level_anonymous_1(Union):
    irq: int
    status: int

class kvm_irq_level(Structure):
    anonymous_1: kvm_irq_level_anonymous_1
    irq: int
    status: int
    level: int

class kvm_irqchip_chip(Union):
    dummy: Array[ctypes.c_uint8]
    pic: kvm_pic_state
    ioapic: kvm_ioapic_state

class kvm_irqchip(Structure):
    chip_id: int
    pad: int
    chip: kvm_irqchip_chip

class kvm_pit_config(Structure):
    flags: int
    pad: Array[ctypes.c_uint32]

class kvm_hyperv_exit_u_synic(Structure):
    msr: int
    pad2: int
    control: int
    evt_page: int
    msg_page: int

class kvm_hyperv_exit_u_hcall(Structure):
    input: int
    result: int
    params: Array[ctypes.c_uint64]

class kvm_hyperv_exit_u_syndbg(Structure):
    msr: int
    pad2: int
    control: int
    status: int
    send_page: int
    recv_page: int
    pending_page: int

class kvm_hyperv_exit_u(Union):
    synic: kvm_hyperv_exit_u_synic
    hcall: kvm_hyperv_exit_u_hcall
    syndbg: kvm_hyperv_exit_u_syndbg

class kvm_hyperv_exit(Structure):
    type: int
    pad1: int
    u: kvm_hyperv_exit_u

class kvm_xen_exit_u_hcall(Structure):
    longmode: int
    cpl: int
    input: int
    result: int
    params: Array[ctypes.c_uint64]

class kvm_xen_exit_u(Union):
    hcall: kvm_xen_exit_u_hcall

class kvm_xen_exit(Structure):
    type: int
    u: kvm_xen_exit_u

class kvm_exit_snp_req_certs(Structure):
    gpa: int
    npages: int
    ret: int

class kvm_run_hw(Structure):
    hardware_exit_reason: int

class kvm_run_fail_entry(Structure):
    hardware_entry_failure_reason: int
    cpu: int

class kvm_run_ex(Structure):
    exception: int
    error_code: int

class kvm_run_io(Structure):
    direction: int
    size: int
    port: int
    count: int
    data_offset: int

class kvm_run_debug(Structure):
    arch: kvm_debug_exit_arch

class kvm_run_mmio(Structure):
    phys_addr: int
    data: Array[ctypes.c_uint8]
    len: int
    is_write: int

class kvm_run_iocsr_io(Structure):
    phys_addr: int
    data: Array[ctypes.c_uint8]
    len: int
    is_write: int

class kvm_run_hypercall_anonymous_1(Union):
    longmode: int
    flags: int

class kvm_run_hypercall(Structure):
    nr: int
    args: Array[ctypes.c_uint64]
    ret: int
    anonymous_1: kvm_run_hypercall_anonymous_1
    longmode: int
    flags: int

class kvm_run_tpr_access(Structure):
    rip: int
    is_write: int
    pad: int

class kvm_run_s390_sieic(Structure):
    icptcode: int
    ipa: int
    ipb: int

class kvm_run_s390_ucontrol(Structure):
    trans_exc_code: int
    pgm_code: int

class kvm_run_dcr(Structure):
    dcrn: int
    data: int
    is_write: int

class kvm_run_internal(Structure):
    suberror: int
    ndata: int
    data: Array[ctypes.c_uint64]

class kvm_run_emulation_failure_anonymous_1_anonymous_1(Structure):
    insn_size: int
    insn_bytes: Array[ctypes.c_uint8]

class kvm_run_emulation_failure_anonymous_1(Union):
    anonymous_1: kvm_run_emulation_failure_anonymous_1_anonymous_1
    insn_size: int
    insn_bytes: Array[ctypes.c_uint8]

class kvm_run_emulation_failure(Structure):
    suberror: int
    ndata: int
    flags: int
    anonymous_1: kvm_run_emulation_failure_anonymous_1
    insn_size: int
    insn_bytes: Array[ctypes.c_uint8]

class kvm_run_osi(Structure):
    gprs: Array[ctypes.c_uint64]

class kvm_run_papr_hcall(Structure):
    nr: int
    ret: int
    args: Array[ctypes.c_uint64]

class kvm_run_s390_tsch(Structure):
    subchannel_id: int
    subchannel_nr: int
    io_int_parm: int
    io_int_word: int
    ipb: int
    dequeued: int

class kvm_run_epr(Structure):
    epr: int

class kvm_run_system_event_anonymous_1(Union):
    flags: int
    data: Array[ctypes.c_uint64]

class kvm_run_system_event(Structure):
    type: int
    ndata: int
    anonymous_1: kvm_run_system_event_anonymous_1
    flags: int
    data: Array[ctypes.c_uint64]

class kvm_run_s390_stsi(Structure):
    addr: int
    ar: int
    reserved: int
    fc: int
    sel1: int
    sel2: int

class kvm_run_eoi(Structure):
    vector: int

class kvm_run_arm_nisv(Structure):
    esr_iss: int
    fault_ipa: int

class kvm_run_msr(Structure):
    error: int
    pad: Array[ctypes.c_uint8]
    reason: int
    index: int
    data: int

class kvm_run_riscv_sbi(Structure):
    extension_id: int
    function_id: int
    args: Array[ctypes.c_uint64]
    ret: Array[ctypes.c_uint64]

class kvm_run_riscv_csr(Structure):
    csr_num: int
    new_value: int
    write_mask: int
    ret_value: int

class kvm_run_notify(Structure):
    flags: int

class kvm_run_memory_fault(Structure):
    flags: int
    gpa: int
    size: int

class kvm_run_tdx_unknown(Structure):
    ret: int
    data: Array[ctypes.c_uint64]

class kvm_run_tdx_get_quote(Structure):
    ret: int
    gpa: int
    size: int

class kvm_run_tdx_get_tdvmcall_info(Structure):
    ret: int
    leaf: int
    r11: int
    r12: int
    r13: int
    r14: int

class kvm_run_tdx_setup_event_notify(Structure):
    ret: int
    vector: int

class kvm_run_tdx_anonymous_1(Union):
    unknown: kvm_run_tdx_unknown
    get_quote: kvm_run_tdx_get_quote
    get_tdvmcall_info: kvm_run_tdx_get_tdvmcall_info
    setup_event_notify: kvm_run_tdx_setup_event_notify

class kvm_run_tdx(Structure):
    flags: int
    nr: int
    anonymous_1: kvm_run_tdx_anonymous_1
    unknown: kvm_run_tdx_unknown
    get_quote: kvm_run_tdx_get_quote
    get_tdvmcall_info: kvm_run_tdx_get_tdvmcall_info
    setup_event_notify: kvm_run_tdx_setup_event_notify

class kvm_run_arm_sea(Structure):
    flags: int
    esr: int
    gva: int
    gpa: int

class kvm_run_anonymous_1(Union):
    hw: kvm_run_hw
    fail_entry: kvm_run_fail_entry
    ex: kvm_run_ex
    io: kvm_run_io
    debug: kvm_run_debug
    mmio: kvm_run_mmio
    iocsr_io: kvm_run_iocsr_io
    hypercall: kvm_run_hypercall
    tpr_access: kvm_run_tpr_access
    s390_sieic: kvm_run_s390_sieic
    s390_reset_flags: int
    s390_ucontrol: kvm_run_s390_ucontrol
    dcr: kvm_run_dcr
    internal: kvm_run_internal
    emulation_failure: kvm_run_emulation_failure
    osi: kvm_run_osi
    papr_hcall: kvm_run_papr_hcall
    s390_tsch: kvm_run_s390_tsch
    epr: kvm_run_epr
    system_event: kvm_run_system_event
    s390_stsi: kvm_run_s390_stsi
    eoi: kvm_run_eoi
    hyperv: kvm_hyperv_exit
    arm_nisv: kvm_run_arm_nisv
    msr: kvm_run_msr
    xen: kvm_xen_exit
    riscv_sbi: kvm_run_riscv_sbi
    riscv_csr: kvm_run_riscv_csr
    notify: kvm_run_notify
    memory_fault: kvm_run_memory_fault
    tdx: kvm_run_tdx
    arm_sea: kvm_run_arm_sea
    snp_req_certs: kvm_exit_snp_req_certs
    padding: Array[ctypes.c_uint8]

class kvm_run_s(Union):
    regs: kvm_sync_regs
    padding: Array[ctypes.c_uint8]

class kvm_run(Structure):
    request_interrupt_window: int
    immediate_exit: int
    padding1: Array[ctypes.c_uint8]
    exit_reason: int
    ready_for_interrupt_injection: int
    if_flag: int
    flags: int
    cr8: int
    apic_base: int
    anonymous_1: kvm_run_anonymous_1
    hw: kvm_run_hw
    fail_entry: kvm_run_fail_entry
    ex: kvm_run_ex
    io: kvm_run_io
    debug: kvm_run_debug
    mmio: kvm_run_mmio
    iocsr_io: kvm_run_iocsr_io
    hypercall: kvm_run_hypercall
    tpr_access: kvm_run_tpr_access
    s390_sieic: kvm_run_s390_sieic
    s390_reset_flags: int
    s390_ucontrol: kvm_run_s390_ucontrol
    dcr: kvm_run_dcr
    internal: kvm_run_internal
    emulation_failure: kvm_run_emulation_failure
    osi: kvm_run_osi
    papr_hcall: kvm_run_papr_hcall
    s390_tsch: kvm_run_s390_tsch
    epr: kvm_run_epr
    system_event: kvm_run_system_event
    s390_stsi: kvm_run_s390_stsi
    eoi: kvm_run_eoi
    hyperv: kvm_hyperv_exit
    arm_nisv: kvm_run_arm_nisv
    msr: kvm_run_msr
    xen: kvm_xen_exit
    riscv_sbi: kvm_run_riscv_sbi
    riscv_csr: kvm_run_riscv_csr
    notify: kvm_run_notify
    memory_fault: kvm_run_memory_fault
    tdx: kvm_run_tdx
    arm_sea: kvm_run_arm_sea
    snp_req_certs: kvm_exit_snp_req_certs
    padding: Array[ctypes.c_uint8]
    kvm_valid_regs: int
    kvm_dirty_regs: int
    s: kvm_run_s

class kvm_coalesced_mmio_zone_anonymous_1(Union):
    pad: int
    pio: int

class kvm_coalesced_mmio_zone(Structure):
    addr: int
    size: int
    anonymous_1: kvm_coalesced_mmio_zone_anonymous_1
    pad: int
    pio: int

class kvm_coalesced_mmio_anonymous_1(Union):
    pad: int
    pio: int

class kvm_coalesced_mmio(Structure):
    phys_addr: int
    len: int
    anonymous_1: kvm_coalesced_mmio_anonymous_1
    pad: int
    pio: int
    data: Array[ctypes.c_uint8]

class kvm_coalesced_mmio_ring(Structure):
    first: int
    last: int
    coalesced_mmio: Array[kvm_coalesced_mmio]

class kvm_translation(Structure):
    linear_address: int
    physical_address: int
    valid: int
    writeable: int
    usermode: int
    pad: Array[ctypes.c_uint8]

class kvm_interrupt(Structure):
    irq: int

class kvm_dirty_log_anonymous_1(Union):
    dirty_bitmap: int | None
    padding2: int

class kvm_dirty_log(Structure):
    slot: int
    padding1: int
    anonymous_1: kvm_dirty_log_anonymous_1
    dirty_bitmap: int | None
    padding2: int

class kvm_clear_dirty_log_anonymous_1(Union):
    dirty_bitmap: int | None
    padding2: int

class kvm_clear_dirty_log(Structure):
    slot: int
    num_pages: int
    first_page: int
    anonymous_1: kvm_clear_dirty_log_anonymous_1
    dirty_bitmap: int | None
    padding2: int

class kvm_signal_mask(Structure):
    len: int
    sigset: Array[ctypes.c_uint8]

class kvm_tpr_access_ctl(Structure):
    enabled: int
    flags: int
    reserved: Array[ctypes.c_uint32]

class kvm_vapic_addr(Structure):
    vapic_addr: int

class kvm_mp_state(Structure):
    mp_state: int

class kvm_guest_debug(Structure):
    control: int
    pad: int
    arch: kvm_guest_debug_arch

class kvm_ioeventfd(Structure):
    datamatch: int
    addr: int
    len: int
    fd: int
    flags: int
    pad: Array[ctypes.c_uint8]

class kvm_enable_cap(Structure):
    cap: int
    flags: int
    args: Array[ctypes.c_uint64]
    pad: Array[ctypes.c_uint8]

class kvm_irq_routing_irqchip(Structure):
    irqchip: int
    pin: int

class kvm_irq_routing_msi_anonymous_1(Union):
    pad: int
    devid: int

class kvm_irq_routing_msi(Structure):
    address_lo: int
    address_hi: int
    data: int
    anonymous_1: kvm_irq_routing_msi_anonymous_1
    pad: int
    devid: int

class kvm_irq_routing_s390_adapter(Structure):
    ind_addr: int
    summary_addr: int
    ind_offset: int
    summary_offset: int
    adapter_id: int

class kvm_irq_routing_hv_sint(Structure):
    vcpu: int
    sint: int

class kvm_irq_routing_xen_evtchn(Structure):
    port: int
    vcpu: int
    priority: int

class kvm_irq_routing_entry_u(Union):
    irqchip: kvm_irq_routing_irqchip
    msi: kvm_irq_routing_msi
    adapter: kvm_irq_routing_s390_adapter
    hv_sint: kvm_irq_routing_hv_sint
    xen_evtchn: kvm_irq_routing_xen_evtchn
    pad: Array[ctypes.c_uint32]

class kvm_irq_routing_entry(Structure):
    gsi: int
    type: int
    flags: int
    pad: int
    u: kvm_irq_routing_entry_u

class kvm_irq_routing(Structure):
    nr: int
    flags: int
    entries: Array[kvm_irq_routing_entry]

class kvm_irqfd(Structure):
    fd: int
    gsi: int
    flags: int
    resamplefd: int
    pad: Array[ctypes.c_uint8]

class kvm_clock_data(Structure):
    clock: int
    flags: int
    pad0: int
    realtime: int
    host_tsc: int
    pad: Array[ctypes.c_uint32]

class kvm_config_tlb(Structure):
    params: int
    array: int
    mmu_type: int
    array_len: int

class kvm_dirty_tlb(Structure):
    bitmap: int
    num_dirty: int

class kvm_reg_list(Structure):
    n: int
    reg: Array[ctypes.c_uint64]

class kvm_one_reg(Structure):
    id: int
    addr: int

class kvm_msi(Structure):
    address_lo: int
    address_hi: int
    data: int
    flags: int
    devid: int
    pad: Array[ctypes.c_uint8]

class kvm_arm_device_addr(Structure):
    id: int
    addr: int

class kvm_create_device(Structure):
    type: int
    fd: int
    flags: int

class kvm_device_attr(Structure):
    flags: int
    group: int
    attr: int
    addr: int

class kvm_vfio_spapr_tce(Structure):
    groupfd: int
    tablefd: int

class kvm_s390_keyop(Structure):
    guest_addr: int
    key: int
    operation: int
    pad: Array[ctypes.c_uint8]

class kvm_enc_region(Structure):
    addr: int
    size: int

class kvm_dirty_gfn(Structure):
    flags: int
    slot: int
    offset: int

class kvm_stats_header(Structure):
    flags: int
    name_size: int
    num_desc: int
    id_offset: int
    desc_offset: int
    data_offset: int

class kvm_stats_desc(Structure):
    flags: int
    exponent: int
    size: int
    offset: int
    bucket_size: int
    name: Array[ctypes.c_uint8]

class kvm_memory_attributes(Structure):
    address: int
    size: int
    attributes: int
    flags: int

class kvm_create_guest_memfd(Structure):
    size: int
    flags: int
    reserved: Array[ctypes.c_uint64]

class kvm_pre_fault_memory(Structure):
    gpa: int
    size: int
    flags: int
    padding: Array[ctypes.c_uint64]

class kvm_steal_time(Structure):
    steal: int
    version: int
    flags: int
    preempted: int
    u8_pad: Array[ctypes.c_uint8]
    pad: Array[ctypes.c_uint32]

class kvm_clock_pairing(Structure):
    sec: int
    nsec: int
    tsc: int
    flags: int
    pad: Array[ctypes.c_uint32]

class kvm_mmu_op_header(Structure):
    op: int
    pad: int

class kvm_mmu_op_write_pte(Structure):
    header: kvm_mmu_op_header
    pte_phys: int
    pte_val: int

class kvm_mmu_op_flush_tlb(Structure):
    header: kvm_mmu_op_header

class kvm_mmu_op_release_pt(Structure):
    header: kvm_mmu_op_header
    pt_phys: int

class kvm_vcpu_pv_apf_data(Structure):
    flags: int
    token: int
    pad: Array[ctypes.c_uint8]
