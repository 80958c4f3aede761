# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The kernel's ABI: <linux/kvm.h>, <asm/kvm.h>, <linux/kvm_para.h>, <asm/kvm_para.h>.

Generated from Debian's linux-libc-dev 7.3.4-1~bpo13+1 by `python -m tools.uapi`; do not edit.
Those headers are under GPL-2.0 WITH Linux-syscall-note; what is here are the facts of the
interface: its names, numbers and layouts. No text of the headers is copied.
"""

from pyvmm.uapi.layout import build as _build

# enum sev_cmd_id
KVM_SEV_INIT = 0
KVM_SEV_ES_INIT = 1
KVM_SEV_LAUNCH_START = 2
KVM_SEV_LAUNCH_UPDATE_DATA = 3
KVM_SEV_LAUNCH_UPDATE_VMSA = 4
KVM_SEV_LAUNCH_SECRET = 5
KVM_SEV_LAUNCH_MEASURE = 6
KVM_SEV_LAUNCH_FINISH = 7
KVM_SEV_SEND_START = 8
KVM_SEV_SEND_UPDATE_DATA = 9
KVM_SEV_SEND_UPDATE_VMSA = 10
KVM_SEV_SEND_FINISH = 11
KVM_SEV_RECEIVE_START = 12
KVM_SEV_RECEIVE_UPDATE_DATA = 13
KVM_SEV_RECEIVE_UPDATE_VMSA = 14
KVM_SEV_RECEIVE_FINISH = 15
KVM_SEV_GUEST_STATUS = 16
KVM_SEV_DBG_DECRYPT = 17
KVM_SEV_DBG_ENCRYPT = 18
KVM_SEV_CERT_EXPORT = 19
KVM_SEV_GET_ATTESTATION_REPORT = 20
KVM_SEV_SEND_CANCEL = 21
KVM_SEV_INIT2 = 22
KVM_SEV_SNP_LAUNCH_START = 100
KVM_SEV_SNP_LAUNCH_UPDATE = 101
KVM_SEV_SNP_LAUNCH_FINISH = 102
KVM_SEV_SNP_ENABLE_REQ_CERTS = 103
KVM_SEV_NR_MAX = 104
# enum kvm_tdx_cmd_id
KVM_TDX_CAPABILITIES = 0
KVM_TDX_INIT_VM = 1
KVM_TDX_INIT_VCPU = 2
KVM_TDX_INIT_MEM_REGION = 3
KVM_TDX_FINALIZE_VM = 4
KVM_TDX_GET_CPUID = 5
KVM_TDX_CMD_NR_MAX = 6

kvm_ioeventfd_flag_nr_datamatch = 0
kvm_ioeventfd_flag_nr_pio = 1
kvm_ioeventfd_flag_nr_deassign = 2
kvm_ioeventfd_flag_nr_virtio_ccw_notify = 3
kvm_ioeventfd_flag_nr_fast_mmio = 4
kvm_ioeventfd_flag_nr_max = 5
# enum kvm_device_type
KVM_DEV_TYPE_FSL_MPIC_20 = 1
KVM_DEV_TYPE_FSL_MPIC_42 = 2
KVM_DEV_TYPE_XICS = 3
KVM_DEV_TYPE_VFIO = 4
KVM_DEV_TYPE_ARM_VGIC_V2 = 5
KVM_DEV_TYPE_FLIC = 6
KVM_DEV_TYPE_ARM_VGIC_V3 = 7
KVM_DEV_TYPE_ARM_VGIC_ITS = 8
KVM_DEV_TYPE_XIVE = 9
KVM_DEV_TYPE_ARM_PV_TIME = 10
KVM_DEV_TYPE_RISCV_AIA = 11
KVM_DEV_TYPE_LOONGARCH_IPI = 12
KVM_DEV_TYPE_LOONGARCH_EIOINTC = 13
KVM_DEV_TYPE_LOONGARCH_PCHPIC = 14
KVM_DEV_TYPE_LOONGARCH_DMSINTC = 15
KVM_DEV_TYPE_ARM_VGIC_V5 = 16
KVM_DEV_TYPE_MAX = 17

KVM_PIO_PAGE_OFFSET = 1
KVM_COALESCED_MMIO_PAGE_OFFSET = 2
KVM_DIRTY_LOG_PAGE_OFFSET = 64
DE_VECTOR = 0
DB_VECTOR = 1
BP_VECTOR = 3
OF_VECTOR = 4
BR_VECTOR = 5
UD_VECTOR = 6
NM_VECTOR = 7
DF_VECTOR = 8
TS_VECTOR = 10
NP_VECTOR = 11
SS_VECTOR = 12
GP_VECTOR = 13
PF_VECTOR = 14
MF_VECTOR = 16
AC_VECTOR = 17
MC_VECTOR = 18
XM_VECTOR = 19
VE_VECTOR = 20
CP_VECTOR = 21
HV_VECTOR = 28
VC_VECTOR = 29
SX_VECTOR = 30
KVM_NR_INTERRUPTS = 256
KVM_IOAPIC_NUM_PINS = 24
KVM_IRQCHIP_PIC_MASTER = 0
KVM_IRQCHIP_PIC_SLAVE = 1
KVM_IRQCHIP_IOAPIC = 2
KVM_NR_IRQCHIPS = 3
KVM_RUN_X86_SMM = 1
KVM_RUN_X86_BUS_LOCK = 2
KVM_RUN_X86_GUEST_MODE = 4
KVM_APIC_REG_SIZE = 0x400
KVM_SREGS2_FLAGS_PDPTRS_VALID = 1
KVM_MSR_FILTER_MAX_BITMAP_SIZE = 0x600
KVM_MSR_FILTER_READ = 1
KVM_MSR_FILTER_WRITE = 2
KVM_MSR_FILTER_RANGE_VALID_MASK = 3
KVM_MSR_FILTER_MAX_RANGES = 16
KVM_MSR_FILTER_DEFAULT_ALLOW = 0
KVM_MSR_FILTER_DEFAULT_DENY = 1
KVM_MSR_FILTER_VALID_MASK = 1
KVM_CPUID_FLAG_SIGNIFCANT_INDEX = 1
KVM_CPUID_FLAG_STATEFUL_FUNC = 2
KVM_CPUID_FLAG_STATE_READ_NEXT = 4
KVM_GUESTDBG_USE_SW_BP = 0x10000
KVM_GUESTDBG_USE_HW_BP = 0x20000
KVM_GUESTDBG_INJECT_DB = 0x40000
KVM_GUESTDBG_INJECT_BP = 0x80000
KVM_GUESTDBG_BLOCKIRQ = 0x100000
KVM_PIT_FLAGS_HPET_LEGACY = 1
KVM_PIT_FLAGS_SPEAKER_DATA_ON = 2
KVM_VCPUEVENT_VALID_NMI_PENDING = 1
KVM_VCPUEVENT_VALID_SIPI_VECTOR = 2
KVM_VCPUEVENT_VALID_SHADOW = 4
KVM_VCPUEVENT_VALID_SMM = 8
KVM_VCPUEVENT_VALID_PAYLOAD = 0x10
KVM_VCPUEVENT_VALID_TRIPLE_FAULT = 0x20
KVM_X86_SHADOW_INT_MOV_SS = 1
KVM_X86_SHADOW_INT_STI = 2
KVM_MAX_XCRS = 16
KVM_X86_REG_TYPE_MSR = 2
KVM_X86_REG_TYPE_KVM = 3
KVM_REG_GUEST_SSP = 0
KVM_SYNC_X86_REGS = 1
KVM_SYNC_X86_SREGS = 2
KVM_SYNC_X86_EVENTS = 4
KVM_SYNC_X86_VALID_FIELDS = 7
KVM_X86_QUIRK_LINT0_REENABLED = 1
KVM_X86_QUIRK_CD_NW_CLEARED = 2
KVM_X86_QUIRK_LAPIC_MMIO_HOLE = 4
KVM_X86_QUIRK_OUT_7E_INC_RIP = 8
KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT = 0x10
KVM_X86_QUIRK_FIX_HYPERCALL_INSN = 0x20
KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS = 0x40
KVM_X86_QUIRK_SLOT_ZAP_ALL = 0x80
KVM_X86_QUIRK_STUFF_FEATURE_MSRS = 0x100
KVM_X86_QUIRK_IGNORE_GUEST_PAT = 0x200
KVM_X86_QUIRK_VMCS12_ALLOW_FREEZE_IN_SMM = 0x400
KVM_X86_QUIRK_NESTED_SVM_SHARED_PAT = 0x800
KVM_STATE_NESTED_FORMAT_VMX = 0
KVM_STATE_NESTED_FORMAT_SVM = 1
KVM_STATE_NESTED_GUEST_MODE = 1
KVM_STATE_NESTED_RUN_PENDING = 2
KVM_STATE_NESTED_EVMCS = 4
KVM_STATE_NESTED_MTF_PENDING = 8
KVM_STATE_NESTED_GIF_SET = 0x100
KVM_STATE_NESTED_SMM_GUEST_MODE = 1
KVM_STATE_NESTED_SMM_VMXON = 2
KVM_STATE_NESTED_VMX_VMCS_SIZE = 0x1000
KVM_STATE_NESTED_SVM_VMCB_SIZE = 0x1000
KVM_STATE_VMX_PREEMPTION_TIMER_DEADLINE = 1
KVM_X86_GRP_SYSTEM = 0
KVM_X86_XCOMP_GUEST_SUPP = 0
KVM_X86_GRP_SEV = 1
KVM_X86_SEV_VMSA_FEATURES = 0
KVM_X86_SNP_POLICY_BITS = 1
KVM_X86_SEV_SNP_REQ_CERTS = 2
KVM_PMU_EVENT_ALLOW = 0
KVM_PMU_EVENT_DENY = 1
KVM_PMU_EVENT_FLAG_MASKED_EVENTS = 1
KVM_PMU_EVENT_FLAGS_VALID_MASK = 1
KVM_XEN_HVM_CONFIG_HYPERCALL_MSR = 1
KVM_XEN_HVM_CONFIG_INTERCEPT_HCALL = 2
KVM_XEN_HVM_CONFIG_SHARED_INFO = 4
KVM_XEN_HVM_CONFIG_RUNSTATE = 8
KVM_XEN_HVM_CONFIG_EVTCHN_2LEVEL = 0x10
KVM_XEN_HVM_CONFIG_EVTCHN_SEND = 0x20
KVM_XEN_HVM_CONFIG_RUNSTATE_UPDATE_FLAG = 0x40
KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE = 0x80
KVM_XEN_HVM_CONFIG_SHARED_INFO_HVA = 0x100
KVM_XEN_MSR_MIN_INDEX = 0x40000000
KVM_XEN_MSR_MAX_INDEX = 0x4fffffff
KVM_XEN_INVALID_GFN = 0xffffffffffffffff
KVM_XEN_EVTCHN_DEASSIGN = 1
KVM_XEN_EVTCHN_UPDATE = 2
KVM_XEN_EVTCHN_RESET = 4
KVM_XEN_ATTR_TYPE_LONG_MODE = 0
KVM_XEN_ATTR_TYPE_SHARED_INFO = 1
KVM_XEN_ATTR_TYPE_UPCALL_VECTOR = 2
KVM_XEN_ATTR_TYPE_EVTCHN = 3
KVM_XEN_ATTR_TYPE_XEN_VERSION = 4
KVM_XEN_ATTR_TYPE_RUNSTATE_UPDATE_FLAG = 5
KVM_XEN_ATTR_TYPE_SHARED_INFO_HVA = 6
KVM_XEN_INVALID_GPA = 0xffffffffffffffff
KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO = 0
KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO = 1
KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADDR = 2
KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_CURRENT = 3
KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_DATA = 4
KVM_XEN_VCPU_ATTR_TYPE_RUNSTATE_ADJUST = 5
KVM_XEN_VCPU_ATTR_TYPE_VCPU_ID = 6
KVM_XEN_VCPU_ATTR_TYPE_TIMER = 7
KVM_XEN_VCPU_ATTR_TYPE_UPCALL_VECTOR = 8
KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO_HVA = 9
KVM_SEV_PAGE_TYPE_INVALID = 0
KVM_SEV_SNP_PAGE_TYPE_NORMAL = 1
KVM_SEV_SNP_PAGE_TYPE_ZERO = 3
KVM_SEV_SNP_PAGE_TYPE_UNMEASURED = 4
KVM_SEV_SNP_PAGE_TYPE_SECRETS = 5
KVM_SEV_SNP_PAGE_TYPE_CPUID = 6
KVM_SEV_SNP_ID_BLOCK_SIZE = 96
KVM_SEV_SNP_ID_AUTH_SIZE = 4096
KVM_SEV_SNP_FINISH_DATA_SIZE = 32
KVM_X2APIC_API_USE_32BIT_IDS = 1
KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK = 2
KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST = 4
KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST = 8
KVM_HYPERV_CONN_ID_MASK = 0xffffff
KVM_HYPERV_EVENTFD_DEASSIGN = 1
KVM_PMU_MASKED_ENTRY_EVENT_SELECT = 0xf000000ff
KVM_PMU_MASKED_ENTRY_UMASK_MASK = 0xff00000000000000
KVM_PMU_MASKED_ENTRY_UMASK_MATCH = 0xff00
KVM_PMU_MASKED_ENTRY_EXCLUDE = 0x80000000000000
KVM_PMU_MASKED_ENTRY_UMASK_MASK_SHIFT = 56
KVM_VCPU_TSC_CTRL = 0
KVM_VCPU_TSC_OFFSET = 0
KVM_EXIT_HYPERCALL_LONG_MODE = 1
KVM_X86_DEFAULT_VM = 0
KVM_X86_SW_PROTECTED_VM = 1
KVM_X86_SEV_VM = 2
KVM_X86_SEV_ES_VM = 3
KVM_X86_SNP_VM = 4
KVM_X86_TDX_VM = 5
KVM_TDX_MEASURE_MEMORY_REGION = 1
KVM_API_VERSION = 12
KVM_MEM_LOG_DIRTY_PAGES = 1
KVM_MEM_READONLY = 2
KVM_MEM_GUEST_MEMFD = 4
KVM_PIT_SPEAKER_DUMMY = 1
KVM_EXIT_HYPERV_SYNIC = 1
KVM_EXIT_HYPERV_HCALL = 2
KVM_EXIT_HYPERV_SYNDBG = 3
KVM_EXIT_XEN_HCALL = 1
KVM_S390_GET_SKEYS_NONE = 1
KVM_S390_SKEYS_MAX = 1048576
KVM_EXIT_UNKNOWN = 0
KVM_EXIT_EXCEPTION = 1
KVM_EXIT_IO = 2
KVM_EXIT_HYPERCALL = 3
KVM_EXIT_DEBUG = 4
KVM_EXIT_HLT = 5
KVM_EXIT_MMIO = 6
KVM_EXIT_IRQ_WINDOW_OPEN = 7
KVM_EXIT_SHUTDOWN = 8
KVM_EXIT_FAIL_ENTRY = 9
KVM_EXIT_INTR = 10
KVM_EXIT_SET_TPR = 11
KVM_EXIT_TPR_ACCESS = 12
KVM_EXIT_S390_SIEIC = 13
KVM_EXIT_S390_RESET = 14
KVM_EXIT_DCR = 15
KVM_EXIT_NMI = 16
KVM_EXIT_INTERNAL_ERROR = 17
KVM_EXIT_OSI = 18
KVM_EXIT_PAPR_HCALL = 19
KVM_EXIT_S390_UCONTROL = 20
KVM_EXIT_WATCHDOG = 21
KVM_EXIT_S390_TSCH = 22
KVM_EXIT_EPR = 23
KVM_EXIT_SYSTEM_EVENT = 24
KVM_EXIT_S390_STSI = 25
KVM_EXIT_IOAPIC_EOI = 26
KVM_EXIT_HYPERV = 27
KVM_EXIT_ARM_NISV = 28
KVM_EXIT_X86_RDMSR = 29
KVM_EXIT_X86_WRMSR = 30
KVM_EXIT_DIRTY_RING_FULL = 31
KVM_EXIT_AP_RESET_HOLD = 32
KVM_EXIT_X86_BUS_LOCK = 33
KVM_EXIT_XEN = 34
KVM_EXIT_RISCV_SBI = 35
KVM_EXIT_RISCV_CSR = 36
KVM_EXIT_NOTIFY = 37
KVM_EXIT_LOONGARCH_IOCSR = 38
KVM_EXIT_MEMORY_FAULT = 39
KVM_EXIT_TDX = 40
KVM_EXIT_ARM_SEA = 41
KVM_EXIT_ARM_LDST64B = 42
KVM_EXIT_SNP_REQ_CERTS = 43
KVM_INTERNAL_ERROR_EMULATION = 1
KVM_INTERNAL_ERROR_SIMUL_EX = 2
KVM_INTERNAL_ERROR_DELIVERY_EV = 3
KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON = 4
KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES = 1
KVM_EXIT_IO_IN = 0
KVM_EXIT_IO_OUT = 1
KVM_SYSTEM_EVENT_SHUTDOWN = 1
KVM_SYSTEM_EVENT_RESET = 2
KVM_SYSTEM_EVENT_CRASH = 3
KVM_SYSTEM_EVENT_WAKEUP = 4
KVM_SYSTEM_EVENT_SUSPEND = 5
KVM_SYSTEM_EVENT_SEV_TERM = 6
KVM_SYSTEM_EVENT_TDX_FATAL = 7
KVM_MSR_EXIT_REASON_INVAL = 1
KVM_MSR_EXIT_REASON_UNKNOWN = 2
KVM_MSR_EXIT_REASON_FILTER = 4
KVM_MSR_EXIT_REASON_VALID_MASK = 7
KVM_NOTIFY_CONTEXT_INVALID = 1
KVM_MEMORY_EXIT_FLAG_PRIVATE = 8
KVM_EXIT_ARM_SEA_FLAG_GPA_VALID = 1
SYNC_REGS_SIZE_BYTES = 2048
KVM_MP_STATE_RUNNABLE = 0
KVM_MP_STATE_UNINITIALIZED = 1
KVM_MP_STATE_INIT_RECEIVED = 2
KVM_MP_STATE_HALTED = 3
KVM_MP_STATE_SIPI_RECEIVED = 4
KVM_MP_STATE_STOPPED = 5
KVM_MP_STATE_CHECK_STOP = 6
KVM_MP_STATE_OPERATING = 7
KVM_MP_STATE_LOAD = 8
KVM_MP_STATE_AP_RESET_HOLD = 9
KVM_MP_STATE_SUSPENDED = 10
KVM_GUESTDBG_ENABLE = 1
KVM_GUESTDBG_SINGLESTEP = 2
KVM_IOEVENTFD_FLAG_DATAMATCH = 1
KVM_IOEVENTFD_FLAG_PIO = 2
KVM_IOEVENTFD_FLAG_DEASSIGN = 4
KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY = 8
KVM_IOEVENTFD_VALID_FLAG_MASK = 0x1f
KVM_X86_DISABLE_EXITS_MWAIT = 1
KVM_X86_DISABLE_EXITS_HLT = 2
KVM_X86_DISABLE_EXITS_PAUSE = 4
KVM_X86_DISABLE_EXITS_CSTATE = 8
KVM_X86_DISABLE_EXITS_APERFMPERF = 0x10
KVMIO = 0xae
KVM_VM_S390_UCONTROL = 1
KVM_VM_PPC_HV = 1
KVM_VM_PPC_PR = 2
KVM_VM_MIPS_AUTO = 0
KVM_VM_MIPS_VZ = 1
KVM_VM_MIPS_TE = 2
KVM_S390_SIE_PAGE_OFFSET = 1
KVM_VM_TYPE_ARM_IPA_SIZE_MASK = 0xff
KVM_VM_TYPE_ARM_PROTECTED = 0x80000000
KVM_VM_TYPE_ARM_MASK = 0x800000ff
KVM_GET_API_VERSION = 0xae00
KVM_CREATE_VM = 0xae01
KVM_GET_MSR_INDEX_LIST = 0xc004ae02
KVM_S390_ENABLE_SIE = 0xae06
KVM_CHECK_EXTENSION = 0xae03
KVM_GET_VCPU_MMAP_SIZE = 0xae04
KVM_GET_SUPPORTED_CPUID = 0xc008ae05
KVM_GET_EMULATED_CPUID = 0xc008ae09
KVM_GET_MSR_FEATURE_INDEX_LIST = 0xc004ae0a
KVM_CAP_IRQCHIP = 0
KVM_CAP_HLT = 1
KVM_CAP_MMU_SHADOW_CACHE_CONTROL = 2
KVM_CAP_USER_MEMORY = 3
KVM_CAP_SET_TSS_ADDR = 4
KVM_CAP_VAPIC = 6
KVM_CAP_EXT_CPUID = 7
KVM_CAP_CLOCKSOURCE = 8
KVM_CAP_NR_VCPUS = 9
KVM_CAP_NR_MEMSLOTS = 10
KVM_CAP_PIT = 11
KVM_CAP_NOP_IO_DELAY = 12
KVM_CAP_PV_MMU = 13
KVM_CAP_MP_STATE = 14
KVM_CAP_COALESCED_MMIO = 15
KVM_CAP_SYNC_MMU = 16
KVM_CAP_IOMMU = 18
KVM_CAP_DESTROY_MEMORY_REGION_WORKS = 21
KVM_CAP_USER_NMI = 22
KVM_CAP_SET_GUEST_DEBUG = 23
KVM_CAP_REINJECT_CONTROL = 24
KVM_CAP_IRQ_ROUTING = 25
KVM_CAP_IRQ_INJECT_STATUS = 26
KVM_CAP_ASSIGN_DEV_IRQ = 29
KVM_CAP_JOIN_MEMORY_REGIONS_WORKS = 30
KVM_CAP_MCE = 31
KVM_CAP_IRQFD = 32
KVM_CAP_PIT2 = 33
KVM_CAP_SET_BOOT_CPU_ID = 34
KVM_CAP_PIT_STATE2 = 35
KVM_CAP_IOEVENTFD = 36
KVM_CAP_SET_IDENTITY_MAP_ADDR = 37
KVM_CAP_XEN_HVM = 38
KVM_CAP_ADJUST_CLOCK = 39
KVM_CAP_INTERNAL_ERROR_DATA = 40
KVM_CAP_VCPU_EVENTS = 41
KVM_CAP_S390_PSW = 42
KVM_CAP_PPC_SEGSTATE = 43
KVM_CAP_HYPERV = 44
KVM_CAP_HYPERV_VAPIC = 45
KVM_CAP_HYPERV_SPIN = 46
KVM_CAP_PCI_SEGMENT = 47
KVM_CAP_PPC_PAIRED_SINGLES = 48
KVM_CAP_INTR_SHADOW = 49
KVM_CAP_DEBUGREGS = 50
KVM_CAP_X86_ROBUST_SINGLESTEP = 51
KVM_CAP_PPC_OSI = 52
KVM_CAP_PPC_UNSET_IRQ = 53
KVM_CAP_ENABLE_CAP = 54
KVM_CAP_XSAVE = 55
KVM_CAP_XCRS = 56
KVM_CAP_PPC_GET_PVINFO = 57
KVM_CAP_PPC_IRQ_LEVEL = 58
KVM_CAP_ASYNC_PF = 59
KVM_CAP_TSC_CONTROL = 60
KVM_CAP_GET_TSC_KHZ = 61
KVM_CAP_PPC_BOOKE_SREGS = 62
KVM_CAP_SPAPR_TCE = 63
KVM_CAP_PPC_SMT = 64
KVM_CAP_PPC_RMA = 65
KVM_CAP_MAX_VCPUS = 66
KVM_CAP_PPC_HIOR = 67
KVM_CAP_PPC_PAPR = 68
KVM_CAP_SW_TLB = 69
KVM_CAP_ONE_REG = 70
KVM_CAP_S390_GMAP = 71
KVM_CAP_TSC_DEADLINE_TIMER = 72
KVM_CAP_S390_UCONTROL = 73
KVM_CAP_SYNC_REGS = 74
KVM_CAP_PCI_2_3 = 75
KVM_CAP_KVMCLOCK_CTRL = 76
KVM_CAP_SIGNAL_MSI = 77
KVM_CAP_PPC_GET_SMMU_INFO = 78
KVM_CAP_S390_COW = 79
KVM_CAP_PPC_ALLOC_HTAB = 80
KVM_CAP_READONLY_MEM = 81
KVM_CAP_IRQFD_RESAMPLE = 82
KVM_CAP_PPC_BOOKE_WATCHDOG = 83
KVM_CAP_PPC_HTAB_FD = 84
KVM_CAP_S390_CSS_SUPPORT = 85
KVM_CAP_PPC_EPR = 86
KVM_CAP_ARM_PSCI = 87
KVM_CAP_ARM_SET_DEVICE_ADDR = 88
KVM_CAP_DEVICE_CTRL = 89
KVM_CAP_IRQ_MPIC = 90
KVM_CAP_PPC_RTAS = 91
KVM_CAP_IRQ_XICS = 92
KVM_CAP_ARM_EL1_32BIT = 93
KVM_CAP_SPAPR_MULTITCE = 94
KVM_CAP_EXT_EMUL_CPUID = 95
KVM_CAP_HYPERV_TIME = 96
KVM_CAP_IOAPIC_POLARITY_IGNORED = 97
KVM_CAP_ENABLE_CAP_VM = 98
KVM_CAP_S390_IRQCHIP = 99
KVM_CAP_IOEVENTFD_NO_LENGTH = 100
KVM_CAP_VM_ATTRIBUTES = 101
KVM_CAP_ARM_PSCI_0_2 = 102
KVM_CAP_PPC_FIXUP_HCALL = 103
KVM_CAP_PPC_ENABLE_HCALL = 104
KVM_CAP_CHECK_EXTENSION_VM = 105
KVM_CAP_S390_USER_SIGP = 106
KVM_CAP_S390_VECTOR_REGISTERS = 107
KVM_CAP_S390_MEM_OP = 108
KVM_CAP_S390_USER_STSI = 109
KVM_CAP_S390_SKEYS = 110
KVM_CAP_MIPS_FPU = 111
KVM_CAP_MIPS_MSA = 112
KVM_CAP_S390_INJECT_IRQ = 113
KVM_CAP_S390_IRQ_STATE = 114
KVM_CAP_PPC_HWRNG = 115
KVM_CAP_DISABLE_QUIRKS = 116
KVM_CAP_X86_SMM = 117
KVM_CAP_MULTI_ADDRESS_SPACE = 118
KVM_CAP_GUEST_DEBUG_HW_BPS = 119
KVM_CAP_GUEST_DEBUG_HW_WPS = 120
KVM_CAP_SPLIT_IRQCHIP = 121
KVM_CAP_IOEVENTFD_ANY_LENGTH = 122
KVM_CAP_HYPERV_SYNIC = 123
KVM_CAP_S390_RI = 124
KVM_CAP_SPAPR_TCE_64 = 125
KVM_CAP_ARM_PMU_V3 = 126
KVM_CAP_VCPU_ATTRIBUTES = 127
KVM_CAP_MAX_VCPU_ID = 128
KVM_CAP_X2APIC_API = 129
KVM_CAP_S390_USER_INSTR0 = 130
KVM_CAP_MSI_DEVID = 131
KVM_CAP_PPC_HTM = 132
KVM_CAP_SPAPR_RESIZE_HPT = 133
KVM_CAP_PPC_MMU_RADIX = 134
KVM_CAP_PPC_MMU_HASH_V3 = 135
KVM_CAP_IMMEDIATE_EXIT = 136
KVM_CAP_MIPS_VZ = 137
KVM_CAP_MIPS_TE = 138
KVM_CAP_MIPS_64BIT = 139
KVM_CAP_S390_GS = 140
KVM_CAP_S390_AIS = 141
KVM_CAP_SPAPR_TCE_VFIO = 142
KVM_CAP_X86_DISABLE_EXITS = 143
KVM_CAP_ARM_USER_IRQ = 144
KVM_CAP_S390_CMMA_MIGRATION = 145
KVM_CAP_PPC_FWNMI = 146
KVM_CAP_PPC_SMT_POSSIBLE = 147
KVM_CAP_HYPERV_SYNIC2 = 148
KVM_CAP_HYPERV_VP_INDEX = 149
KVM_CAP_S390_AIS_MIGRATION = 150
KVM_CAP_PPC_GET_CPU_CHAR = 151
KVM_CAP_S390_BPB = 152
KVM_CAP_GET_MSR_FEATURES = 153
KVM_CAP_HYPERV_EVENTFD = 154
KVM_CAP_HYPERV_TLBFLUSH = 155
KVM_CAP_S390_HPAGE_1M = 156
KVM_CAP_NESTED_STATE = 157
KVM_CAP_ARM_INJECT_SERROR_ESR = 158
KVM_CAP_MSR_PLATFORM_INFO = 159
KVM_CAP_PPC_NESTED_HV = 160
KVM_CAP_HYPERV_SEND_IPI = 161
KVM_CAP_COALESCED_PIO = 162
KVM_CAP_HYPERV_ENLIGHTENED_VMCS = 163
KVM_CAP_EXCEPTION_PAYLOAD = 164
KVM_CAP_ARM_VM_IPA_SIZE = 165
KVM_CAP_MANUAL_DIRTY_LOG_PROTECT = 166
KVM_CAP_HYPERV_CPUID = 167
KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 = 168
KVM_CAP_PPC_IRQ_XIVE = 169
KVM_CAP_ARM_SVE = 170
KVM_CAP_ARM_PTRAUTH_ADDRESS = 171
KVM_CAP_ARM_PTRAUTH_GENERIC = 172
KVM_CAP_PMU_EVENT_FILTER = 173
KVM_CAP_ARM_IRQ_LINE_LAYOUT_2 = 174
KVM_CAP_HYPERV_DIRECT_TLBFLUSH = 175
KVM_CAP_PPC_GUEST_DEBUG_SSTEP = 176
KVM_CAP_ARM_NISV_TO_USER = 177
KVM_CAP_ARM_INJECT_EXT_DABT = 178
KVM_CAP_S390_VCPU_RESETS = 179
KVM_CAP_S390_PROTECTED = 180
KVM_CAP_PPC_SECURE_GUEST = 181
KVM_CAP_HALT_POLL = 182
KVM_CAP_ASYNC_PF_INT = 183
KVM_CAP_LAST_CPU = 184
KVM_CAP_SMALLER_MAXPHYADDR = 185
KVM_CAP_S390_DIAG318 = 186
KVM_CAP_STEAL_TIME = 187
KVM_CAP_X86_USER_SPACE_MSR = 188
KVM_CAP_X86_MSR_FILTER = 189
KVM_CAP_ENFORCE_PV_FEATURE_CPUID = 190
KVM_CAP_SYS_HYPERV_CPUID = 191
KVM_CAP_DIRTY_LOG_RING = 192
KVM_CAP_X86_BUS_LOCK_EXIT = 193
KVM_CAP_PPC_DAWR1 = 194
KVM_CAP_SET_GUEST_DEBUG2 = 195
KVM_CAP_SGX_ATTRIBUTE = 196
KVM_CAP_VM_COPY_ENC_CONTEXT_FROM = 197
KVM_CAP_PTP_KVM = 198
KVM_CAP_HYPERV_ENFORCE_CPUID = 199
KVM_CAP_SREGS2 = 200
KVM_CAP_EXIT_HYPERCALL = 201
KVM_CAP_PPC_RPT_INVALIDATE = 202
KVM_CAP_BINARY_STATS_FD = 203
KVM_CAP_EXIT_ON_EMULATION_FAILURE = 204
KVM_CAP_ARM_MTE = 205
KVM_CAP_VM_MOVE_ENC_CONTEXT_FROM = 206
KVM_CAP_VM_GPA_BITS = 207
KVM_CAP_XSAVE2 = 208
KVM_CAP_SYS_ATTRIBUTES = 209
KVM_CAP_PPC_AIL_MODE_3 = 210
KVM_CAP_S390_MEM_OP_EXTENSION = 211
KVM_CAP_PMU_CAPABILITY = 212
KVM_CAP_DISABLE_QUIRKS2 = 213
KVM_CAP_VM_TSC_CONTROL = 214
KVM_CAP_SYSTEM_EVENT_DATA = 215
KVM_CAP_ARM_SYSTEM_SUSPEND = 216
KVM_CAP_S390_PROTECTED_DUMP = 217
KVM_CAP_X86_TRIPLE_FAULT_EVENT = 218
KVM_CAP_X86_NOTIFY_VMEXIT = 219
KVM_CAP_VM_DISABLE_NX_HUGE_PAGES = 220
KVM_CAP_S390_ZPCI_OP = 221
KVM_CAP_S390_CPU_TOPOLOGY = 222
KVM_CAP_DIRTY_LOG_RING_ACQ_REL = 223
KVM_CAP_S390_PROTECTED_ASYNC_DISABLE = 224
KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP = 225
KVM_CAP_PMU_EVENT_MASKED_EVENTS = 226
KVM_CAP_COUNTER_OFFSET = 227
KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE = 228
KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES = 229
KVM_CAP_ARM_SUPPORTED_REG_MASK_RANGES = 230
KVM_CAP_USER_MEMORY2 = 231
KVM_CAP_MEMORY_FAULT_INFO = 232
KVM_CAP_MEMORY_ATTRIBUTES = 233
KVM_CAP_GUEST_MEMFD = 234
KVM_CAP_VM_TYPES = 235
KVM_CAP_PRE_FAULT_MEMORY = 236
KVM_CAP_X86_APIC_BUS_CYCLES_NS = 237
KVM_CAP_X86_GUEST_MODE = 238
KVM_CAP_ARM_WRITABLE_IMP_ID_REGS = 239
KVM_CAP_ARM_EL2 = 240
KVM_CAP_ARM_EL2_E2H0 = 241
KVM_CAP_RISCV_MP_STATE_RESET = 242
KVM_CAP_ARM_CACHEABLE_PFNMAP_SUPPORTED = 243
KVM_CAP_GUEST_MEMFD_FLAGS = 244
KVM_CAP_ARM_SEA_TO_USER = 245
KVM_CAP_S390_USER_OPEREXEC = 246
KVM_CAP_S390_KEYOP = 247
KVM_CAP_S390_VSIE_ESAMODE = 248
KVM_CAP_S390_HPAGE_2G = 249
KVM_CAP_PPC_COMPAT_CAPS = 250
KVM_CAP_ARM_PMU_V3_STRICT = 251
KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL = 0xffffffff
KVM_IRQ_ROUTING_IRQCHIP = 1
KVM_IRQ_ROUTING_MSI = 2
KVM_IRQ_ROUTING_S390_ADAPTER = 3
KVM_IRQ_ROUTING_HV_SINT = 4
KVM_IRQ_ROUTING_XEN_EVTCHN = 5
KVM_IRQFD_FLAG_DEASSIGN = 1
KVM_IRQFD_FLAG_RESAMPLE = 2
KVM_CLOCK_TSC_STABLE = 2
KVM_CLOCK_REALTIME = 4
KVM_CLOCK_HOST_TSC = 8
KVM_MMU_FSL_BOOKE_NOHV = 0
KVM_MMU_FSL_BOOKE_HV = 1
KVM_REG_ARCH_MASK = 0xff00000000000000
KVM_REG_GENERIC = 0
KVM_REG_PPC = 0x1000000000000000
KVM_REG_X86 = 0x2000000000000000
KVM_REG_IA64 = 0x3000000000000000
KVM_REG_ARM = 0x4000000000000000
KVM_REG_S390 = 0x5000000000000000
KVM_REG_ARM64 = 0x6000000000000000
KVM_REG_MIPS = 0x7000000000000000
KVM_REG_RISCV = 0x8000000000000000
KVM_REG_LOONGARCH = 0x9000000000000000
KVM_REG_SIZE_SHIFT = 52
KVM_REG_SIZE_MASK = 0xf0000000000000
KVM_REG_SIZE_U8 = 0
KVM_REG_SIZE_U16 = 0x10000000000000
KVM_REG_SIZE_U32 = 0x20000000000000
KVM_REG_SIZE_U64 = 0x30000000000000
KVM_REG_SIZE_U128 = 0x40000000000000
KVM_REG_SIZE_U256 = 0x50000000000000
KVM_REG_SIZE_U512 = 0x60000000000000
KVM_REG_SIZE_U1024 = 0x70000000000000
KVM_REG_SIZE_U2048 = 0x80000000000000
KVM_MSI_VALID_DEVID = 1
KVM_CREATE_DEVICE_TEST = 1
KVM_DEV_VFIO_FILE = 1
KVM_DEV_VFIO_FILE_ADD = 1
KVM_DEV_VFIO_FILE_DEL = 2
KVM_DEV_VFIO_GROUP = 1
KVM_DEV_VFIO_GROUP_ADD = 1
KVM_DEV_VFIO_GROUP_DEL = 2
KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE = 3
KVM_S390_KEYOP_ISKE = 1
KVM_S390_KEYOP_RRBE = 2
KVM_S390_KEYOP_SSKE = 3
KVM_CREATE_VCPU = 0xae41
KVM_GET_DIRTY_LOG = 0x4010ae42
KVM_SET_NR_MMU_PAGES = 0xae44
KVM_GET_NR_MMU_PAGES = 0xae45
KVM_SET_USER_MEMORY_REGION = 0x4020ae46
KVM_SET_TSS_ADDR = 0xae47
KVM_SET_IDENTITY_MAP_ADDR = 0x4008ae48
KVM_SET_USER_MEMORY_REGION2 = 0x40a0ae49
KVM_S390_VCPU_FAULT = 0x4008ae52
KVM_S390_KEYOP = 0xc010ae53
KVM_CREATE_IRQCHIP = 0xae60
KVM_IRQ_LINE = 0x4008ae61
KVM_GET_IRQCHIP = 0xc208ae62
KVM_SET_IRQCHIP = 0x8208ae63
KVM_CREATE_PIT = 0xae64
KVM_GET_PIT = 0xc048ae65
KVM_SET_PIT = 0x8048ae66
KVM_IRQ_LINE_STATUS = 0xc008ae67
KVM_REGISTER_COALESCED_MMIO = 0x4010ae67
KVM_UNREGISTER_COALESCED_MMIO = 0x4010ae68
KVM_SET_GSI_ROUTING = 0x4008ae6a
KVM_REINJECT_CONTROL = 0xae71
KVM_IRQFD = 0x4020ae76
KVM_CREATE_PIT2 = 0x4040ae77
KVM_SET_BOOT_CPU_ID = 0xae78
KVM_IOEVENTFD = 0x4040ae79
KVM_XEN_HVM_CONFIG = 0x4038ae7a
KVM_SET_CLOCK = 0x4030ae7b
KVM_GET_CLOCK = 0x8030ae7c
KVM_GET_PIT2 = 0x8070ae9f
KVM_SET_PIT2 = 0x4070aea0
KVM_SET_TSC_KHZ = 0xaea2
KVM_GET_TSC_KHZ = 0xaea3
KVM_SIGNAL_MSI = 0x4020aea5
KVM_PPC_ALLOCATE_HTAB = 0xc004aea7
KVM_ARM_SET_DEVICE_ADDR = 0x4010aeab
KVM_SET_PMU_EVENT_FILTER = 0x4020aeb2
KVM_PPC_SVM_OFF = 0xaeb3
KVM_PPC_GET_COMPAT_CAPS = 0xaeb8
KVM_CREATE_DEVICE = 0xc00caee0
KVM_SET_DEVICE_ATTR = 0x4018aee1
KVM_GET_DEVICE_ATTR = 0x4018aee2
KVM_HAS_DEVICE_ATTR = 0x4018aee3
KVM_RUN = 0xae80
KVM_GET_REGS = 0x8090ae81
KVM_SET_REGS = 0x4090ae82
KVM_GET_SREGS = 0x8138ae83
KVM_SET_SREGS = 0x4138ae84
KVM_TRANSLATE = 0xc018ae85
KVM_INTERRUPT = 0x4004ae86
KVM_GET_MSRS = 0xc008ae88
KVM_SET_MSRS = 0x4008ae89
KVM_SET_CPUID = 0x4008ae8a
KVM_SET_SIGNAL_MASK = 0x4004ae8b
KVM_GET_FPU = 0x81a0ae8c
KVM_SET_FPU = 0x41a0ae8d
KVM_GET_LAPIC = 0x8400ae8e
KVM_SET_LAPIC = 0x4400ae8f
KVM_SET_CPUID2 = 0x4008ae90
KVM_GET_CPUID2 = 0xc008ae91
KVM_TPR_ACCESS_REPORTING = 0xc028ae92
KVM_SET_VAPIC_ADDR = 0x4008ae93
KVM_S390_STORE_STATUS_NOADDR = 0xffffffffffffffff
KVM_S390_STORE_STATUS_PREFIXED = 0xfffffffffffffffe
KVM_S390_STORE_STATUS = 0x4008ae95
KVM_S390_INITIAL_RESET = 0xae97
KVM_GET_MP_STATE = 0x8004ae98
KVM_SET_MP_STATE = 0x4004ae99
KVM_NMI = 0xae9a
KVM_SET_GUEST_DEBUG = 0x4048ae9b
KVM_X86_SETUP_MCE = 0x4008ae9c
KVM_X86_GET_MCE_CAP_SUPPORTED = 0x8008ae9d
KVM_X86_SET_MCE = 0x4040ae9e
KVM_GET_VCPU_EVENTS = 0x8040ae9f
KVM_SET_VCPU_EVENTS = 0x4040aea0
KVM_GET_DEBUGREGS = 0x8080aea1
KVM_SET_DEBUGREGS = 0x4080aea2
KVM_ENABLE_CAP = 0x4068aea3
KVM_GET_XSAVE = 0x9000aea4
KVM_SET_XSAVE = 0x5000aea5
KVM_GET_XCRS = 0x8188aea6
KVM_SET_XCRS = 0x4188aea7
KVM_DIRTY_TLB = 0x4010aeaa
KVM_GET_ONE_REG = 0x4010aeab
KVM_SET_ONE_REG = 0x4010aeac
KVM_KVMCLOCK_CTRL = 0xaead
KVM_GET_REG_LIST = 0xc008aeb0
KVM_SMI = 0xaeb7
KVM_MEMORY_ENCRYPT_OP = 0xc008aeba
KVM_MEMORY_ENCRYPT_REG_REGION = 0x8010aebb
KVM_MEMORY_ENCRYPT_UNREG_REGION = 0x8010aebc
KVM_HYPERV_EVENTFD = 0x4018aebd
KVM_GET_NESTED_STATE = 0xc080aebe
KVM_SET_NESTED_STATE = 0x4080aebf
KVM_CLEAR_DIRTY_LOG = 0xc018aec0
KVM_GET_SUPPORTED_HV_CPUID = 0xc008aec1
KVM_ARM_VCPU_FINALIZE = 0x4004aec2
KVM_S390_NORMAL_RESET = 0xaec3
KVM_S390_CLEAR_RESET = 0xaec4
KVM_X86_SET_MSR_FILTER = 0x4188aec6
KVM_RESET_DIRTY_RINGS = 0xaec7
KVM_XEN_HVM_GET_ATTR = 0xc048aec8
KVM_XEN_HVM_SET_ATTR = 0x4048aec9
KVM_XEN_VCPU_GET_ATTR = 0xc048aeca
KVM_XEN_VCPU_SET_ATTR = 0x4048aecb
KVM_XEN_HVM_EVTCHN_SEND = 0x400caed0
KVM_GET_SREGS2 = 0x8140aecc
KVM_SET_SREGS2 = 0x4140aecd
KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE = 1
KVM_DIRTY_LOG_INITIALLY_SET = 2
KVM_DIRTY_GFN_F_DIRTY = 1
KVM_DIRTY_GFN_F_RESET = 2
KVM_DIRTY_GFN_F_MASK = 3
KVM_BUS_LOCK_DETECTION_OFF = 1
KVM_BUS_LOCK_DETECTION_EXIT = 2
KVM_PMU_CAP_DISABLE = 1
KVM_STATS_TYPE_SHIFT = 0
KVM_STATS_TYPE_MASK = 0xf
KVM_STATS_TYPE_CUMULATIVE = 0
KVM_STATS_TYPE_INSTANT = 1
KVM_STATS_TYPE_PEAK = 2
KVM_STATS_TYPE_LINEAR_HIST = 3
KVM_STATS_TYPE_LOG_HIST = 4
KVM_STATS_TYPE_MAX = 4
KVM_STATS_UNIT_SHIFT = 4
KVM_STATS_UNIT_MASK = 0xf0
KVM_STATS_UNIT_NONE = 0
KVM_STATS_UNIT_BYTES = 0x10
KVM_STATS_UNIT_SECONDS = 0x20
KVM_STATS_UNIT_CYCLES = 0x30
KVM_STATS_UNIT_BOOLEAN = 0x40
KVM_STATS_UNIT_MAX = 0x40
KVM_STATS_BASE_SHIFT = 8
KVM_STATS_BASE_MASK = 0xf00
KVM_STATS_BASE_POW10 = 0
KVM_STATS_BASE_POW2 = 0x100
KVM_STATS_BASE_MAX = 0x100
KVM_GET_STATS_FD = 0xaece
KVM_GET_XSAVE2 = 0x9000aecf
KVM_X86_NOTIFY_VMEXIT_ENABLED = 1
KVM_X86_NOTIFY_VMEXIT_USER = 2
KVM_SET_MEMORY_ATTRIBUTES = 0x4020aed2
KVM_MEMORY_ATTRIBUTE_PRIVATE = 8
KVM_CREATE_GUEST_MEMFD = 0xc040aed4
GUEST_MEMFD_FLAG_MMAP = 1
GUEST_MEMFD_FLAG_INIT_SHARED = 2
KVM_PRE_FAULT_MEMORY = 0xc040aed5
KVM_ENOSYS = 1000
KVM_EFAULT = 0xe
KVM_EINVAL = 0x16
KVM_E2BIG = 7
KVM_EPERM = 1
KVM_EOPNOTSUPP = 95
KVM_HC_VAPIC_POLL_IRQ = 1
KVM_HC_MMU_OP = 2
KVM_HC_FEATURES = 3
KVM_HC_PPC_MAP_MAGIC_PAGE = 4
KVM_HC_KICK_CPU = 5
KVM_HC_MIPS_GET_CLOCK_FREQ = 6
KVM_HC_MIPS_EXIT_VM = 7
KVM_HC_MIPS_CONSOLE_OUTPUT = 8
KVM_HC_CLOCK_PAIRING = 9
KVM_HC_SEND_IPI = 10
KVM_HC_SCHED_YIELD = 11
KVM_HC_MAP_GPA_RANGE = 12
KVM_CPUID_SIGNATURE = 0x40000000
KVM_SIGNATURE = "KVMKVMKVM\u0000\u0000\u0000"
KVM_CPUID_FEATURES = 0x40000001
KVM_FEATURE_CLOCKSOURCE = 0
KVM_FEATURE_NOP_IO_DELAY = 1
KVM_FEATURE_MMU_OP = 2
KVM_FEATURE_CLOCKSOURCE2 = 3
KVM_FEATURE_ASYNC_PF = 4
KVM_FEATURE_STEAL_TIME = 5
KVM_FEATURE_PV_EOI = 6
KVM_FEATURE_PV_UNHALT = 7
KVM_FEATURE_PV_TLB_FLUSH = 9
KVM_FEATURE_ASYNC_PF_VMEXIT = 10
KVM_FEATURE_PV_SEND_IPI = 11
KVM_FEATURE_POLL_CONTROL = 12
KVM_FEATURE_PV_SCHED_YIELD = 13
KVM_FEATURE_ASYNC_PF_INT = 14
KVM_FEATURE_MSI_EXT_DEST_ID = 15
KVM_FEATURE_HC_MAP_GPA_RANGE = 16
KVM_FEATURE_MIGRATION_CONTROL = 17
KVM_HINTS_REALTIME = 0
KVM_FEATURE_CLOCKSOURCE_STABLE_BIT = 24
MSR_KVM_WALL_CLOCK = 0x11
MSR_KVM_SYSTEM_TIME = 0x12
KVM_MSR_ENABLED = 1
MSR_KVM_WALL_CLOCK_NEW = 0x4b564d00
MSR_KVM_SYSTEM_TIME_NEW = 0x4b564d01
MSR_KVM_ASYNC_PF_EN = 0x4b564d02
MSR_KVM_STEAL_TIME = 0x4b564d03
MSR_KVM_PV_EOI_EN = 0x4b564d04
MSR_KVM_POLL_CONTROL = 0x4b564d05
MSR_KVM_ASYNC_PF_INT = 0x4b564d06
MSR_KVM_ASYNC_PF_ACK = 0x4b564d07
MSR_KVM_MIGRATION_CONTROL = 0x4b564d08
KVM_VCPU_PREEMPTED = 1
KVM_VCPU_FLUSH_TLB = 2
KVM_CLOCK_PAIRING_WALLCLOCK = 0
KVM_STEAL_ALIGNMENT_BITS = 5
KVM_STEAL_VALID_BITS = 0xffffffffffffffc0
KVM_STEAL_RESERVED_MASK = 0x3e
KVM_MAX_MMU_OP_BATCH = 32
KVM_ASYNC_PF_ENABLED = 1
KVM_ASYNC_PF_SEND_ALWAYS = 2
KVM_ASYNC_PF_DELIVERY_AS_PF_VMEXIT = 4
KVM_ASYNC_PF_DELIVERY_AS_INT = 8
KVM_ASYNC_PF_VEC_MASK = 0xff
KVM_MIGRATION_READY = 1
KVM_MAP_GPA_RANGE_PAGE_SZ_4K = 0
KVM_MAP_GPA_RANGE_PAGE_SZ_2M = 1
KVM_MAP_GPA_RANGE_PAGE_SZ_1G = 2
KVM_MAP_GPA_RANGE_ENCRYPTED = 0x10
KVM_MAP_GPA_RANGE_DECRYPTED = 0
KVM_MMU_OP_WRITE_PTE = 1
KVM_MMU_OP_FLUSH_TLB = 2
KVM_MMU_OP_RELEASE_PT = 3
KVM_PV_REASON_PAGE_NOT_PRESENT = 1
KVM_PV_REASON_PAGE_READY = 2
KVM_PV_EOI_BIT = 0
KVM_PV_EOI_MASK = 1
KVM_PV_EOI_ENABLED = 1
KVM_PV_EOI_DISABLED = 0

_LAYOUTS = {
    "kvm_pic_state": ("struct", (
        ("last_irr", "u8"),
        ("irr", "u8"),
        ("imr", "u8"),
        ("isr", "u8"),
        ("priority_add", "u8"),
        ("irq_base", "u8"),
        ("read_reg_select", "u8"),
        ("poll", "u8"),
        ("special_mask", "u8"),
        ("init_state", "u8"),
        ("auto_eoi", "u8"),
        ("rotate_on_auto_eoi", "u8"),
        ("special_fully_nested_mode", "u8"),
        ("init4", "u8"),
        ("elcr", "u8"),
        ("elcr_mask", "u8"),
    )),
    "kvm_ioapic_state_redirtbl_fields": ("struct", (
        ("vector", "u8"),
        ("delivery_mode", "u8", 3),
        ("dest_mode", "u8", 1),
        ("delivery_status", "u8", 1),
        ("polarity", "u8", 1),
        ("remote_irr", "u8", 1),
        ("trig_mode", "u8", 1),
        ("mask", "u8", 1),
        ("reserve", "u8", 7),
        ("reserved", "u8[4]"),
        ("dest_id", "u8"),
    )),
    "kvm_ioapic_state_redirtbl": ("union", (
        ("bits", "u64"),
        ("fields", "kvm_ioapic_state_redirtbl_fields"),
    )),
    "kvm_ioapic_state": ("struct", (
        ("base_address", "u64"),
        ("ioregsel", "u32"),
        ("id", "u32"),
        ("irr", "u32"),
        ("pad", "u32"),
        ("redirtbl", "kvm_ioapic_state_redirtbl[24]"),
    )),
    "kvm_regs": ("struct", (
        ("rax", "u64"),
        ("rbx", "u64"),
        ("rcx", "u64"),
        ("rdx", "u64"),
        ("rsi", "u64"),
        ("rdi", "u64"),
        ("rsp", "u64"),
        ("rbp", "u64"),
        ("r8", "u64"),
        ("r9", "u64"),
        ("r10", "u64"),
        ("r11", "u64"),
        ("r12", "u64"),
        ("r13", "u64"),
        ("r14", "u64"),
        ("r15", "u64"),
        ("rip", "u64"),
        ("rflags", "u64"),
    )),
    "kvm_lapic_state": ("struct", (
        ("regs", "u8[1024]"),
    )),
    "kvm_segment": ("struct", (
        ("base", "u64"),
        ("limit", "u32"),
        ("selector", "u16"),
        ("type", "u8"),
        ("present", "u8"),
        ("dpl", "u8"),
        ("db", "u8"),
        ("s", "u8"),
        ("l", "u8"),
        ("g", "u8"),
        ("avl", "u8"),
        ("unusable", "u8"),
        ("padding", "u8"),
    )),
    "kvm_dtable": ("struct", (
        ("base", "u64"),
        ("limit", "u16"),
        ("padding", "u16[3]"),
    )),
    "kvm_sregs": ("struct", (
        ("cs", "kvm_segment"),
        ("ds", "kvm_segment"),
        ("es", "kvm_segment"),
        ("fs", "kvm_segment"),
        ("gs", "kvm_segment"),
        ("ss", "kvm_segment"),
        ("tr", "kvm_segment"),
        ("ldt", "kvm_segment"),
        ("gdt", "kvm_dtable"),
        ("idt", "kvm_dtable"),
        ("cr0", "u64"),
        ("cr2", "u64"),
        ("cr3", "u64"),
        ("cr4", "u64"),
        ("cr8", "u64"),
        ("efer", "u64"),
        ("apic_base", "u64"),
        ("interrupt_bitmap", "u64[4]"),
    )),
    "kvm_sregs2": ("struct", (
        ("cs", "kvm_segment"),
        ("ds", "kvm_segment"),
        ("es", "kvm_segment"),
        ("fs", "kvm_segment"),
        ("gs", "kvm_segment"),
        ("ss", "kvm_segment"),
        ("tr", "kvm_segment"),
        ("ldt", "kvm_segment"),
        ("gdt", "kvm_dtable"),
        ("idt", "kvm_dtable"),
        ("cr0", "u64"),
        ("cr2", "u64"),
        ("cr3", "u64"),
        ("cr4", "u64"),
        ("cr8", "u64"),
        ("efer", "u64"),
        ("apic_base", "u64"),
        ("flags", "u64"),
        ("pdptrs", "u64[4]"),
    )),
    "kvm_fpu": ("struct", (
        ("fpr", "u8[8][16]"),
        ("fcw", "u16"),
        ("fsw", "u16"),
        ("ftwx", "u8"),
        ("pad1", "u8"),
        ("last_opcode", "u16"),
        ("last_ip", "u64"),
        ("last_dp", "u64"),
        ("xmm", "u8[16][16]"),
        ("mxcsr", "u32"),
        ("pad2", "u32"),
    )),
    "kvm_msr_entry": ("struct", (
        ("index", "u32"),
        ("reserved", "u32"),
        ("data", "u64"),
    )),
    "kvm_msrs": ("struct", (
        ("nmsrs", "u32"),
        ("pad", "u32"),
        ("entries", "kvm_msr_entry[0]"),
    )),
    "kvm_msr_list": ("struct", (
        ("nmsrs", "u32"),
        ("indices", "u32[0]"),
    )),
    "kvm_msr_filter_range": ("struct", (
        ("flags", "u32"),
        ("nmsrs", "u32"),
        ("base", "u32"),
        ("bitmap", "ptr"),
    )),
    "kvm_msr_filter": ("struct", (
        ("flags", "u32"),
        ("ranges", "kvm_msr_filter_range[16]"),
    )),
    "kvm_cpuid_entry": ("struct", (
        ("function", "u32"),
        ("eax", "u32"),
        ("ebx", "u32"),
        ("ecx", "u32"),
        ("edx", "u32"),
        ("padding", "u32"),
    )),
    "kvm_cpuid": ("struct", (
        ("nent", "u32"),
        ("padding", "u32"),
        ("entries", "kvm_cpuid_entry[0]"),
    )),
    "kvm_cpuid_entry2": ("struct", (
        ("function", "u32"),
        ("index", "u32"),
        ("flags", "u32"),
        ("eax", "u32"),
        ("ebx", "u32"),
        ("ecx", "u32"),
        ("edx", "u32"),
        ("padding", "u32[3]"),
    )),
    "kvm_cpuid2": ("struct", (
        ("nent", "u32"),
        ("padding", "u32"),
        ("entries", "kvm_cpuid_entry2[0]"),
    )),
    "kvm_pit_channel_state": ("struct", (
        ("count", "u32"),
        ("latched_count", "u16"),
        ("count_latched", "u8"),
        ("status_latched", "u8"),
        ("status", "u8"),
        ("read_state", "u8"),
        ("write_state", "u8"),
        ("write_latch", "u8"),
        ("rw_mode", "u8"),
        ("mode", "u8"),
        ("bcd", "u8"),
        ("gate", "u8"),
        ("count_load_time", "s64"),
    )),
    "kvm_debug_exit_arch": ("struct", (
        ("exception", "u32"),
        ("pad", "u32"),
        ("pc", "u64"),
        ("dr6", "u64"),
        ("dr7", "u64"),
    )),
    "kvm_guest_debug_arch": ("struct", (
        ("debugreg", "u64[8]"),
    )),
    "kvm_pit_state": ("struct", (
        ("channels", "kvm_pit_channel_state[3]"),
    )),
    "kvm_pit_state2": ("struct", (
        ("channels", "kvm_pit_channel_state[3]"),
        ("flags", "u32"),
        ("reserved", "u32[9]"),
    )),
    "kvm_reinject_control": ("struct", (
        ("pit_reinject", "u8"),
        ("reserved", "u8[31]"),
    )),
    "kvm_vcpu_events_exception": ("struct", (
        ("injected", "u8"),
        ("nr", "u8"),
        ("has_error_code", "u8"),
        ("pending", "u8"),
        ("error_code", "u32"),
    )),
    "kvm_vcpu_events_interrupt": ("struct", (
        ("injected", "u8"),
        ("nr", "u8"),
        ("soft", "u8"),
        ("shadow", "u8"),
    )),
    "kvm_vcpu_events_nmi": ("struct", (
        ("injected", "u8"),
        ("pending", "u8"),
        ("masked", "u8"),
        ("pad", "u8"),
    )),
    "kvm_vcpu_events_smi": ("struct", (
        ("smm", "u8"),
        ("pending", "u8"),
        ("smm_inside_nmi", "u8"),
        ("latched_init", "u8"),
    )),
    "kvm_vcpu_events_triple_fault": ("struct", (
        ("pending", "u8"),
    )),
    "kvm_vcpu_events": ("struct", (
        ("exception", "kvm_vcpu_events_exception"),
        ("interrupt", "kvm_vcpu_events_interrupt"),
        ("nmi", "kvm_vcpu_events_nmi"),
        ("sipi_vector", "u32"),
        ("flags", "u32"),
        ("smi", "kvm_vcpu_events_smi"),
        ("triple_fault", "kvm_vcpu_events_triple_fault"),
        ("reserved", "u8[26]"),
        ("exception_has_payload", "u8"),
        ("exception_payload", "u64"),
    )),
    "kvm_debugregs": ("struct", (
        ("db", "u64[4]"),
        ("dr6", "u64"),
        ("dr7", "u64"),
        ("flags", "u64"),
        ("reserved", "u64[9]"),
    )),
    "kvm_xsave": ("struct", (
        ("region", "u32[1024]"),
        ("extra", "u32[0]"),
    )),
    "kvm_xcr": ("struct", (
        ("xcr", "u32"),
        ("reserved", "u32"),
        ("value", "u64"),
    )),
    "kvm_xcrs": ("struct", (
        ("nr_xcrs", "u32"),
        ("flags", "u32"),
        ("xcrs", "kvm_xcr[16]"),
        ("padding", "u64[16]"),
    )),
    "kvm_sync_regs": ("struct", (
        ("regs", "kvm_regs"),
        ("sregs", "kvm_sregs"),
        ("events", "kvm_vcpu_events"),
    )),
    "kvm_vmx_nested_state_data": ("struct", (
        ("vmcs12", "u8[4096]"),
        ("shadow_vmcs12", "u8[4096]"),
    )),
    "kvm_vmx_nested_state_hdr_smm": ("struct", (
        ("flags", "u16"),
    )),
    "kvm_vmx_nested_state_hdr": ("struct", (
        ("vmxon_pa", "u64"),
        ("vmcs12_pa", "u64"),
        ("smm", "kvm_vmx_nested_state_hdr_smm"),
        ("pad", "u16"),
        ("flags", "u32"),
        ("preemption_timer_deadline", "u64"),
    )),
    "kvm_svm_nested_state_data": ("struct", (
        ("vmcb12", "u8[4096]"),
    )),
    "kvm_svm_nested_state_hdr": ("struct", (
        ("vmcb_pa", "u64"),
        ("gpat", "u64"),
    )),
    "kvm_nested_state_hdr": ("union", (
        ("vmx", "kvm_vmx_nested_state_hdr"),
        ("svm", "kvm_svm_nested_state_hdr"),
        ("pad", "u8[120]"),
    )),
    "kvm_nested_state_data": ("union", (
        ("vmx", "kvm_vmx_nested_state_data[0]"),
        ("svm", "kvm_svm_nested_state_data[0]"),
    )),
    "kvm_nested_state": ("struct", (
        ("flags", "u16"),
        ("format", "u16"),
        ("size", "u32"),
        ("hdr", "kvm_nested_state_hdr"),
        ("data", "kvm_nested_state_data"),
    )),
    "kvm_pmu_event_filter": ("struct", (
        ("action", "u32"),
        ("nevents", "u32"),
        ("fixed_counter_bitmap", "u32"),
        ("flags", "u32"),
        ("pad", "u32[4]"),
        ("events", "u64[0]"),
    )),
    "kvm_x86_mce": ("struct", (
        ("status", "u64"),
        ("addr", "u64"),
        ("misc", "u64"),
        ("mcg_status", "u64"),
        ("bank", "u8"),
        ("pad1", "u8[7]"),
        ("pad2", "u64[3]"),
    )),
    "kvm_xen_hvm_config": ("struct", (
        ("flags", "u32"),
        ("msr", "u32"),
        ("blob_addr_32", "u64"),
        ("blob_addr_64", "u64"),
        ("blob_size_32", "u8"),
        ("blob_size_64", "u8"),
        ("pad2", "u8[30]"),
    )),
    "kvm_xen_hvm_attr_u_shared_info": ("union", (
        ("gfn", "u64"),
        ("hva", "u64"),
    )),
    "kvm_xen_hvm_attr_u_evtchn_deliver_port": ("struct", (
        ("port", "u32"),
        ("vcpu", "u32"),
        ("priority", "u32"),
    )),
    "kvm_xen_hvm_attr_u_evtchn_deliver_eventfd": ("struct", (
        ("port", "u32"),
        ("fd", "s32"),
    )),
    "kvm_xen_hvm_attr_u_evtchn_deliver": ("union", (
        ("port", "kvm_xen_hvm_attr_u_evtchn_deliver_port"),
        ("eventfd", "kvm_xen_hvm_attr_u_evtchn_deliver_eventfd"),
        ("padding", "u32[4]"),
    )),
    "kvm_xen_hvm_attr_u_evtchn": ("struct", (
        ("send_port", "u32"),
        ("type", "u32"),
        ("flags", "u32"),
        ("deliver", "kvm_xen_hvm_attr_u_evtchn_deliver"),
    )),
    "kvm_xen_hvm_attr_u": ("union", (
        ("long_mode", "u8"),
        ("vector", "u8"),
        ("runstate_update_flag", "u8"),
        ("shared_info", "kvm_xen_hvm_attr_u_shared_info"),
        ("evtchn", "kvm_xen_hvm_attr_u_evtchn"),
        ("xen_version", "u32"),
        ("pad", "u64[8]"),
    )),
    "kvm_xen_hvm_attr": ("struct", (
        ("type", "u16"),
        ("pad", "u16[3]"),
        ("u", "kvm_xen_hvm_attr_u"),
    )),
    "kvm_xen_vcpu_attr_u_runstate": ("struct", (
        ("state", "u64"),
        ("state_entry_time", "u64"),
        ("time_running", "u64"),
        ("time_runnable", "u64"),
        ("time_blocked", "u64"),
        ("time_offline", "u64"),
    )),
    "kvm_xen_vcpu_attr_u_timer": ("struct", (
        ("port", "u32"),
        ("priority", "u32"),
        ("expires_ns", "u64"),
    )),
    "kvm_xen_vcpu_attr_u": ("union", (
        ("gpa", "u64"),
        ("hva", "u64"),
        ("pad", "u64[8]"),
        ("runstate", "kvm_xen_vcpu_attr_u_runstate"),
        ("vcpu_id", "u32"),
        ("timer", "kvm_xen_vcpu_attr_u_timer"),
        ("vector", "u8"),
    )),
    "kvm_xen_vcpu_attr": ("struct", (
        ("type", "u16"),
        ("pad", "u16[3]"),
        ("u", "kvm_xen_vcpu_attr_u"),
    )),
    "kvm_sev_cmd": ("struct", (
        ("id", "u32"),
        ("pad0", "u32"),
        ("data", "u64"),
        ("error", "u32"),
        ("sev_fd", "u32"),
    )),
    "kvm_sev_init": ("struct", (
        ("vmsa_features", "u64"),
        ("flags", "u32"),
        ("ghcb_version", "u16"),
        ("pad1", "u16"),
        ("pad2", "u32[8]"),
    )),
    "kvm_sev_launch_start": ("struct", (
        ("handle", "u32"),
        ("policy", "u32"),
        ("dh_uaddr", "u64"),
        ("dh_len", "u32"),
        ("pad0", "u32"),
        ("session_uaddr", "u64"),
        ("session_len", "u32"),
        ("pad1", "u32"),
    )),
    "kvm_sev_launch_update_data": ("struct", (
        ("uaddr", "u64"),
        ("len", "u32"),
        ("pad0", "u32"),
    )),
    "kvm_sev_launch_secret": ("struct", (
        ("hdr_uaddr", "u64"),
        ("hdr_len", "u32"),
        ("pad0", "u32"),
        ("guest_uaddr", "u64"),
        ("guest_len", "u32"),
        ("pad1", "u32"),
        ("trans_uaddr", "u64"),
        ("trans_len", "u32"),
        ("pad2", "u32"),
    )),
    "kvm_sev_launch_measure": ("struct", (
        ("uaddr", "u64"),
        ("len", "u32"),
        ("pad0", "u32"),
    )),
    "kvm_sev_guest_status": ("struct", (
        ("handle", "u32"),
        ("policy", "u32"),
        ("state", "u32"),
    )),
    "kvm_sev_dbg": ("struct", (
        ("src_uaddr", "u64"),
        ("dst_uaddr", "u64"),
        ("len", "u32"),
        ("pad0", "u32"),
    )),
    "kvm_sev_attestation_report": ("struct", (
        ("mnonce", "u8[16]"),
        ("uaddr", "u64"),
        ("len", "u32"),
        ("pad0", "u32"),
    )),
    "kvm_sev_send_start": ("struct", (
        ("policy", "u32"),
        ("pad0", "u32"),
        ("pdh_cert_uaddr", "u64"),
        ("pdh_cert_len", "u32"),
        ("pad1", "u32"),
        ("plat_certs_uaddr", "u64"),
        ("plat_certs_len", "u32"),
        ("pad2", "u32"),
        ("amd_certs_uaddr", "u64"),
        ("amd_certs_len", "u32"),
        ("pad3", "u32"),
        ("session_uaddr", "u64"),
        ("session_len", "u32"),
        ("pad4", "u32"),
    )),
    "kvm_sev_send_update_data": ("struct", (
        ("hdr_uaddr", "u64"),
        ("hdr_len", "u32"),
        ("pad0", "u32"),
        ("guest_uaddr", "u64"),
        ("guest_len", "u32"),
        ("pad1", "u32"),
        ("trans_uaddr", "u64"),
        ("trans_len", "u32"),
        ("pad2", "u32"),
    )),
    "kvm_sev_receive_start": ("struct", (
        ("handle", "u32"),
        ("policy", "u32"),
        ("pdh_uaddr", "u64"),
        ("pdh_len", "u32"),
        ("pad0", "u32"),
        ("session_uaddr", "u64"),
        ("session_len", "u32"),
        ("pad1", "u32"),
    )),
    "kvm_sev_receive_update_data": ("struct", (
        ("hdr_uaddr", "u64"),
        ("hdr_len", "u32"),
        ("pad0", "u32"),
        ("guest_uaddr", "u64"),
        ("guest_len", "u32"),
        ("pad1", "u32"),
        ("trans_uaddr", "u64"),
        ("trans_len", "u32"),
        ("pad2", "u32"),
    )),
    "kvm_sev_snp_launch_start": ("struct", (
        ("policy", "u64"),
        ("gosvw", "u8[16]"),
        ("flags", "u16"),
        ("pad0", "u8[6]"),
        ("pad1", "u64[4]"),
    )),
    "kvm_sev_snp_launch_update": ("struct", (
        ("gfn_start", "u64"),
        ("uaddr", "u64"),
        ("len", "u64"),
        ("type", "u8"),
        ("pad0", "u8"),
        ("flags", "u16"),
        ("pad1", "u32"),
        ("pad2", "u64[4]"),
    )),
    "kvm_sev_snp_launch_finish": ("struct", (
        ("id_block_uaddr", "u64"),
        ("id_auth_uaddr", "u64"),
        ("id_block_en", "u8"),
        ("auth_key_en", "u8"),
        ("vcek_disabled", "u8"),
        ("host_data", "u8[32]"),
        ("pad0", "u8[3]"),
        ("flags", "u16"),
        ("pad1", "u64[4]"),
    )),
    "kvm_hyperv_eventfd": ("struct", (
        ("conn_id", "u32"),
        ("fd", "s32"),
        ("flags", "u32"),
        ("padding", "u32[3]"),
    )),
    "kvm_tdx_cmd": ("struct", (
        ("id", "u32"),
        ("flags", "u32"),
        ("data", "u64"),
        ("hw_error", "u64"),
    )),
    "kvm_tdx_capabilities": ("struct", (
        ("supported_attrs", "u64"),
        ("supported_xfam", "u64"),
        ("kernel_tdvmcallinfo_1_r11", "u64"),
        ("user_tdvmcallinfo_1_r11", "u64"),
        ("kernel_tdvmcallinfo_1_r12", "u64"),
        ("user_tdvmcallinfo_1_r12", "u64"),
        ("reserved", "u64[250]"),
        ("cpuid", "kvm_cpuid2"),
    )),
    "kvm_tdx_init_vm": ("struct", (
        ("attributes", "u64"),
        ("xfam", "u64"),
        ("mrconfigid", "u64[6]"),
        ("mrowner", "u64[6]"),
        ("mrownerconfig", "u64[6]"),
        ("reserved", "u64[12]"),
        ("cpuid", "kvm_cpuid2"),
    )),
    "kvm_tdx_init_mem_region": ("struct", (
        ("source_addr", "u64"),
        ("gpa", "u64"),
        ("nr_pages", "u64"),
    )),
    "kvm_userspace_memory_region": ("struct", (
        ("slot", "u32"),
        ("flags", "u32"),
        ("guest_phys_addr", "u64"),
        ("memory_size", "u64"),
        ("userspace_addr", "u64"),
    )),
    "kvm_userspace_memory_region2": ("struct", (
        ("slot", "u32"),
        ("flags", "u32"),
        ("guest_phys_addr", "u64"),
        ("memory_size", "u64"),
        ("userspace_addr", "u64"),
        ("guest_memfd_offset", "u64"),
        ("guest_memfd", "u32"),
        ("pad1", "u32"),
        ("pad2", "u64[14]"),
    )),
    "kvm_irq_level_anonymous_1": ("union", (
        ("irq", "u32"),
        ("status", "s32"),
    )),
    "kvm_irq_level": ("struct", (
        ("anonymous_1", "kvm_irq_level_anonymous_1"),
        ("level", "u32"),
    )),
    "kvm_irqchip_chip": ("union", (
        ("dummy", "u8[512]"),
        ("pic", "kvm_pic_state"),
        ("ioapic", "kvm_ioapic_state"),
    )),
    "kvm_irqchip": ("struct", (
        ("chip_id", "u32"),
        ("pad", "u32"),
        ("chip", "kvm_irqchip_chip"),
    )),
    "kvm_pit_config": ("struct", (
        ("flags", "u32"),
        ("pad", "u32[15]"),
    )),
    "kvm_hyperv_exit_u_synic": ("struct", (
        ("msr", "u32"),
        ("pad2", "u32"),
        ("control", "u64"),
        ("evt_page", "u64"),
        ("msg_page", "u64"),
    )),
    "kvm_hyperv_exit_u_hcall": ("struct", (
        ("input", "u64"),
        ("result", "u64"),
        ("params", "u64[2]"),
    )),
    "kvm_hyperv_exit_u_syndbg": ("struct", (
        ("msr", "u32"),
        ("pad2", "u32"),
        ("control", "u64"),
        ("status", "u64"),
        ("send_page", "u64"),
        ("recv_page", "u64"),
        ("pending_page", "u64"),
    )),
    "kvm_hyperv_exit_u": ("union", (
        ("synic", "kvm_hyperv_exit_u_synic"),
        ("hcall", "kvm_hyperv_exit_u_hcall"),
        ("syndbg", "kvm_hyperv_exit_u_syndbg"),
    )),
    "kvm_hyperv_exit": ("struct", (
        ("type", "u32"),
        ("pad1", "u32"),
        ("u", "kvm_hyperv_exit_u"),
    )),
    "kvm_xen_exit_u_hcall": ("struct", (
        ("longmode", "u32"),
        ("cpl", "u32"),
        ("input", "u64"),
        ("result", "u64"),
        ("params", "u64[6]"),
    )),
    "kvm_xen_exit_u": ("union", (
        ("hcall", "kvm_xen_exit_u_hcall"),
    )),
    "kvm_xen_exit": ("struct", (
        ("type", "u32"),
        ("u", "kvm_xen_exit_u"),
    )),
    "kvm_exit_snp_req_certs": ("struct", (
        ("gpa", "u64"),
        ("npages", "u64"),
        ("ret", "u64"),
    )),
    "kvm_run_hw": ("struct", (
        ("hardware_exit_reason", "u64"),
    )),
    "kvm_run_fail_entry": ("struct", (
        ("hardware_entry_failure_reason", "u64"),
        ("cpu", "u32"),
    )),
    "kvm_run_ex": ("struct", (
        ("exception", "u32"),
        ("error_code", "u32"),
    )),
    "kvm_run_io": ("struct", (
        ("direction", "u8"),
        ("size", "u8"),
        ("port", "u16"),
        ("count", "u32"),
        ("data_offset", "u64"),
    )),
    "kvm_run_debug": ("struct", (
        ("arch", "kvm_debug_exit_arch"),
    )),
    "kvm_run_mmio": ("struct", (
        ("phys_addr", "u64"),
        ("data", "u8[8]"),
        ("len", "u32"),
        ("is_write", "u8"),
    )),
    "kvm_run_iocsr_io": ("struct", (
        ("phys_addr", "u64"),
        ("data", "u8[8]"),
        ("len", "u32"),
        ("is_write", "u8"),
    )),
    "kvm_run_hypercall_anonymous_1": ("union", (
        ("longmode", "u32"),
        ("flags", "u64"),
    )),
    "kvm_run_hypercall": ("struct", (
        ("nr", "u64"),
        ("args", "u64[6]"),
        ("ret", "u64"),
        ("anonymous_1", "kvm_run_hypercall_anonymous_1"),
    )),
    "kvm_run_tpr_access": ("struct", (
        ("rip", "u64"),
        ("is_write", "u32"),
        ("pad", "u32"),
    )),
    "kvm_run_s390_sieic": ("struct", (
        ("icptcode", "u8"),
        ("ipa", "u16"),
        ("ipb", "u32"),
    )),
    "kvm_run_s390_ucontrol": ("struct", (
        ("trans_exc_code", "u64"),
        ("pgm_code", "u32"),
    )),
    "kvm_run_dcr": ("struct", (
        ("dcrn", "u32"),
        ("data", "u32"),
        ("is_write", "u8"),
    )),
    "kvm_run_internal": ("struct", (
        ("suberror", "u32"),
        ("ndata", "u32"),
        ("data", "u64[16]"),
    )),
    "kvm_run_emulation_failure_anonymous_1_anonymous_1": ("struct", (
        ("insn_size", "u8"),
        ("insn_bytes", "u8[15]"),
    )),
    "kvm_run_emulation_failure_anonymous_1": ("union", (
        ("anonymous_1", "kvm_run_emulation_failure_anonymous_1_anonymous_1"),
    )),
    "kvm_run_emulation_failure": ("struct", (
        ("suberror", "u32"),
        ("ndata", "u32"),
        ("flags", "u64"),
        ("anonymous_1", "kvm_run_emulation_failure_anonymous_1"),
    )),
    "kvm_run_osi": ("struct", (
        ("gprs", "u64[32]"),
    )),
    "kvm_run_papr_hcall": ("struct", (
        ("nr", "u64"),
        ("ret", "u64"),
        ("args", "u64[9]"),
    )),
    "kvm_run_s390_tsch": ("struct", (
        ("subchannel_id", "u16"),
        ("subchannel_nr", "u16"),
        ("io_int_parm", "u32"),
        ("io_int_word", "u32"),
        ("ipb", "u32"),
        ("dequeued", "u8"),
    )),
    "kvm_run_epr": ("struct", (
        ("epr", "u32"),
    )),
    "kvm_run_system_event_anonymous_1": ("union", (
        ("flags", "u64"),
        ("data", "u64[16]"),
    )),
    "kvm_run_system_event": ("struct", (
        ("type", "u32"),
        ("ndata", "u32"),
        ("anonymous_1", "kvm_run_system_event_anonymous_1"),
    )),
    "kvm_run_s390_stsi": ("struct", (
        ("addr", "u64"),
        ("ar", "u8"),
        ("reserved", "u8"),
        ("fc", "u8"),
        ("sel1", "u8"),
        ("sel2", "u16"),
    )),
    "kvm_run_eoi": ("struct", (
        ("vector", "u8"),
    )),
    "kvm_run_arm_nisv": ("struct", (
        ("esr_iss", "u64"),
        ("fault_ipa", "u64"),
    )),
    "kvm_run_msr": ("struct", (
        ("error", "u8"),
        ("pad", "u8[7]"),
        ("reason", "u32"),
        ("index", "u32"),
        ("data", "u64"),
    )),
    "kvm_run_riscv_sbi": ("struct", (
        ("extension_id", "u64"),
        ("function_id", "u64"),
        ("args", "u64[6]"),
        ("ret", "u64[2]"),
    )),
    "kvm_run_riscv_csr": ("struct", (
        ("csr_num", "u64"),
        ("new_value", "u64"),
        ("write_mask", "u64"),
        ("ret_value", "u64"),
    )),
    "kvm_run_notify": ("struct", (
        ("flags", "u32"),
    )),
    "kvm_run_memory_fault": ("struct", (
        ("flags", "u64"),
        ("gpa", "u64"),
        ("size", "u64"),
    )),
    "kvm_run_tdx_unknown": ("struct", (
        ("ret", "u64"),
        ("data", "u64[5]"),
    )),
    "kvm_run_tdx_get_quote": ("struct", (
        ("ret", "u64"),
        ("gpa", "u64"),
        ("size", "u64"),
    )),
    "kvm_run_tdx_get_tdvmcall_info": ("struct", (
        ("ret", "u64"),
        ("leaf", "u64"),
        ("r11", "u64"),
        ("r12", "u64"),
        ("r13", "u64"),
        ("r14", "u64"),
    )),
    "kvm_run_tdx_setup_event_notify": ("struct", (
        ("ret", "u64"),
        ("vector", "u64"),
    )),
    "kvm_run_tdx_anonymous_1": ("union", (
        ("unknown", "kvm_run_tdx_unknown"),
        ("get_quote", "kvm_run_tdx_get_quote"),
        ("get_tdvmcall_info", "kvm_run_tdx_get_tdvmcall_info"),
        ("setup_event_notify", "kvm_run_tdx_setup_event_notify"),
    )),
    "kvm_run_tdx": ("struct", (
        ("flags", "u64"),
        ("nr", "u64"),
        ("anonymous_1", "kvm_run_tdx_anonymous_1"),
    )),
    "kvm_run_arm_sea": ("struct", (
        ("flags", "u64"),
        ("esr", "u64"),
        ("gva", "u64"),
        ("gpa", "u64"),
    )),
    "kvm_run_anonymous_1": ("union", (
        ("hw", "kvm_run_hw"),
        ("fail_entry", "kvm_run_fail_entry"),
        ("ex", "kvm_run_ex"),
        ("io", "kvm_run_io"),
        ("debug", "kvm_run_debug"),
        ("mmio", "kvm_run_mmio"),
        ("iocsr_io", "kvm_run_iocsr_io"),
        ("hypercall", "kvm_run_hypercall"),
        ("tpr_access", "kvm_run_tpr_access"),
        ("s390_sieic", "kvm_run_s390_sieic"),
        ("s390_reset_flags", "u64"),
        ("s390_ucontrol", "kvm_run_s390_ucontrol"),
        ("dcr", "kvm_run_dcr"),
        ("internal", "kvm_run_internal"),
        ("emulation_failure", "kvm_run_emulation_failure"),
        ("osi", "kvm_run_osi"),
        ("papr_hcall", "kvm_run_papr_hcall"),
        ("s390_tsch", "kvm_run_s390_tsch"),
        ("epr", "kvm_run_epr"),
        ("system_event", "kvm_run_system_event"),
        ("s390_stsi", "kvm_run_s390_stsi"),
        ("eoi", "kvm_run_eoi"),
        ("hyperv", "kvm_hyperv_exit"),
        ("arm_nisv", "kvm_run_arm_nisv"),
        ("msr", "kvm_run_msr"),
        ("xen", "kvm_xen_exit"),
        ("riscv_sbi", "kvm_run_riscv_sbi"),
        ("riscv_csr", "kvm_run_riscv_csr"),
        ("notify", "kvm_run_notify"),
        ("memory_fault", "kvm_run_memory_fault"),
        ("tdx", "kvm_run_tdx"),
        ("arm_sea", "kvm_run_arm_sea"),
        ("snp_req_certs", "kvm_exit_snp_req_certs"),
        ("padding", "u8[256]"),
    )),
    "kvm_run_s": ("union", (
        ("regs", "kvm_sync_regs"),
        ("padding", "u8[2048]"),
    )),
    "kvm_run": ("struct", (
        ("request_interrupt_window", "u8"),
        ("immediate_exit", "u8"),
        ("padding1", "u8[6]"),
        ("exit_reason", "u32"),
        ("ready_for_interrupt_injection", "u8"),
        ("if_flag", "u8"),
        ("flags", "u16"),
        ("cr8", "u64"),
        ("apic_base", "u64"),
        ("anonymous_1", "kvm_run_anonymous_1"),
        ("kvm_valid_regs", "u64"),
        ("kvm_dirty_regs", "u64"),
        ("s", "kvm_run_s"),
    )),
    "kvm_coalesced_mmio_zone_anonymous_1": ("union", (
        ("pad", "u32"),
        ("pio", "u32"),
    )),
    "kvm_coalesced_mmio_zone": ("struct", (
        ("addr", "u64"),
        ("size", "u32"),
        ("anonymous_1", "kvm_coalesced_mmio_zone_anonymous_1"),
    )),
    "kvm_coalesced_mmio_anonymous_1": ("union", (
        ("pad", "u32"),
        ("pio", "u32"),
    )),
    "kvm_coalesced_mmio": ("struct", (
        ("phys_addr", "u64"),
        ("len", "u32"),
        ("anonymous_1", "kvm_coalesced_mmio_anonymous_1"),
        ("data", "u8[8]"),
    )),
    "kvm_coalesced_mmio_ring": ("struct", (
        ("first", "u32"),
        ("last", "u32"),
        ("coalesced_mmio", "kvm_coalesced_mmio[0]"),
    )),
    "kvm_translation": ("struct", (
        ("linear_address", "u64"),
        ("physical_address", "u64"),
        ("valid", "u8"),
        ("writeable", "u8"),
        ("usermode", "u8"),
        ("pad", "u8[5]"),
    )),
    "kvm_interrupt": ("struct", (
        ("irq", "u32"),
    )),
    "kvm_dirty_log_anonymous_1": ("union", (
        ("dirty_bitmap", "ptr"),
        ("padding2", "u64"),
    )),
    "kvm_dirty_log": ("struct", (
        ("slot", "u32"),
        ("padding1", "u32"),
        ("anonymous_1", "kvm_dirty_log_anonymous_1"),
    )),
    "kvm_clear_dirty_log_anonymous_1": ("union", (
        ("dirty_bitmap", "ptr"),
        ("padding2", "u64"),
    )),
    "kvm_clear_dirty_log": ("struct", (
        ("slot", "u32"),
        ("num_pages", "u32"),
        ("first_page", "u64"),
        ("anonymous_1", "kvm_clear_dirty_log_anonymous_1"),
    )),
    "kvm_signal_mask": ("struct", (
        ("len", "u32"),
        ("sigset", "u8[0]"),
    )),
    "kvm_tpr_access_ctl": ("struct", (
        ("enabled", "u32"),
        ("flags", "u32"),
        ("reserved", "u32[8]"),
    )),
    "kvm_vapic_addr": ("struct", (
        ("vapic_addr", "u64"),
    )),
    "kvm_mp_state": ("struct", (
        ("mp_state", "u32"),
    )),
    "kvm_guest_debug": ("struct", (
        ("control", "u32"),
        ("pad", "u32"),
        ("arch", "kvm_guest_debug_arch"),
    )),
    "kvm_ioeventfd": ("struct", (
        ("datamatch", "u64"),
        ("addr", "u64"),
        ("len", "u32"),
        ("fd", "s32"),
        ("flags", "u32"),
        ("pad", "u8[36]"),
    )),
    "kvm_enable_cap": ("struct", (
        ("cap", "u32"),
        ("flags", "u32"),
        ("args", "u64[4]"),
        ("pad", "u8[64]"),
    )),
    "kvm_irq_routing_irqchip": ("struct", (
        ("irqchip", "u32"),
        ("pin", "u32"),
    )),
    "kvm_irq_routing_msi_anonymous_1": ("union", (
        ("pad", "u32"),
        ("devid", "u32"),
    )),
    "kvm_irq_routing_msi": ("struct", (
        ("address_lo", "u32"),
        ("address_hi", "u32"),
        ("data", "u32"),
        ("anonymous_1", "kvm_irq_routing_msi_anonymous_1"),
    )),
    "kvm_irq_routing_s390_adapter": ("struct", (
        ("ind_addr", "u64"),
        ("summary_addr", "u64"),
        ("ind_offset", "u64"),
        ("summary_offset", "u32"),
        ("adapter_id", "u32"),
    )),
    "kvm_irq_routing_hv_sint": ("struct", (
        ("vcpu", "u32"),
        ("sint", "u32"),
    )),
    "kvm_irq_routing_xen_evtchn": ("struct", (
        ("port", "u32"),
        ("vcpu", "u32"),
        ("priority", "u32"),
    )),
    "kvm_irq_routing_entry_u": ("union", (
        ("irqchip", "kvm_irq_routing_irqchip"),
        ("msi", "kvm_irq_routing_msi"),
        ("adapter", "kvm_irq_routing_s390_adapter"),
        ("hv_sint", "kvm_irq_routing_hv_sint"),
        ("xen_evtchn", "kvm_irq_routing_xen_evtchn"),
        ("pad", "u32[8]"),
    )),
    "kvm_irq_routing_entry": ("struct", (
        ("gsi", "u32"),
        ("type", "u32"),
        ("flags", "u32"),
        ("pad", "u32"),
        ("u", "kvm_irq_routing_entry_u"),
    )),
    "kvm_irq_routing": ("struct", (
        ("nr", "u32"),
        ("flags", "u32"),
        ("entries", "kvm_irq_routing_entry[0]"),
    )),
    "kvm_irqfd": ("struct", (
        ("fd", "u32"),
        ("gsi", "u32"),
        ("flags", "u32"),
        ("resamplefd", "u32"),
        ("pad", "u8[16]"),
    )),
    "kvm_clock_data": ("struct", (
        ("clock", "u64"),
        ("flags", "u32"),
        ("pad0", "u32"),
        ("realtime", "u64"),
        ("host_tsc", "u64"),
        ("pad", "u32[4]"),
    )),
    "kvm_config_tlb": ("struct", (
        ("params", "u64"),
        ("array", "u64"),
        ("mmu_type", "u32"),
        ("array_len", "u32"),
    )),
    "kvm_dirty_tlb": ("struct", (
        ("bitmap", "u64"),
        ("num_dirty", "u32"),
    )),
    "kvm_reg_list": ("struct", (
        ("n", "u64"),
        ("reg", "u64[0]"),
    )),
    "kvm_one_reg": ("struct", (
        ("id", "u64"),
        ("addr", "u64"),
    )),
    "kvm_msi": ("struct", (
        ("address_lo", "u32"),
        ("address_hi", "u32"),
        ("data", "u32"),
        ("flags", "u32"),
        ("devid", "u32"),
        ("pad", "u8[12]"),
    )),
    "kvm_arm_device_addr": ("struct", (
        ("id", "u64"),
        ("addr", "u64"),
    )),
    "kvm_create_device": ("struct", (
        ("type", "u32"),
        ("fd", "u32"),
        ("flags", "u32"),
    )),
    "kvm_device_attr": ("struct", (
        ("flags", "u32"),
        ("group", "u32"),
        ("attr", "u64"),
        ("addr", "u64"),
    )),
    "kvm_vfio_spapr_tce": ("struct", (
        ("groupfd", "s32"),
        ("tablefd", "s32"),
    )),
    "kvm_s390_keyop": ("struct", (
        ("guest_addr", "u64"),
        ("key", "u8"),
        ("operation", "u8"),
        ("pad", "u8[6]"),
    )),
    "kvm_enc_region": ("struct", (
        ("addr", "u64"),
        ("size", "u64"),
    )),
    "kvm_dirty_gfn": ("struct", (
        ("flags", "u32"),
        ("slot", "u32"),
        ("offset", "u64"),
    )),
    "kvm_stats_header": ("struct", (
        ("flags", "u32"),
        ("name_size", "u32"),
        ("num_desc", "u32"),
        ("id_offset", "u32"),
        ("desc_offset", "u32"),
        ("data_offset", "u32"),
    )),
    "kvm_stats_desc": ("struct", (
        ("flags", "u32"),
        ("exponent", "s16"),
        ("size", "u16"),
        ("offset", "u32"),
        ("bucket_size", "u32"),
        ("name", "u8[0]"),
    )),
    "kvm_memory_attributes": ("struct", (
        ("address", "u64"),
        ("size", "u64"),
        ("attributes", "u64"),
        ("flags", "u64"),
    )),
    "kvm_create_guest_memfd": ("struct", (
        ("size", "u64"),
        ("flags", "u64"),
        ("reserved", "u64[6]"),
    )),
    "kvm_pre_fault_memory": ("struct", (
        ("gpa", "u64"),
        ("size", "u64"),
        ("flags", "u64"),
        ("padding", "u64[5]"),
    )),
    "kvm_steal_time": ("struct", (
        ("steal", "u64"),
        ("version", "u32"),
        ("flags", "u32"),
        ("preempted", "u8"),
        ("u8_pad", "u8[3]"),
        ("pad", "u32[11]"),
    )),
    "kvm_clock_pairing": ("struct", (
        ("sec", "s64"),
        ("nsec", "s64"),
        ("tsc", "u64"),
        ("flags", "u32"),
        ("pad", "u32[9]"),
    )),
    "kvm_mmu_op_header": ("struct", (
        ("op", "u32"),
        ("pad", "u32"),
    )),
    "kvm_mmu_op_write_pte": ("struct", (
        ("header", "kvm_mmu_op_header"),
        ("pte_phys", "u64"),
        ("pte_val", "u64"),
    )),
    "kvm_mmu_op_flush_tlb": ("struct", (
        ("header", "kvm_mmu_op_header"),
    )),
    "kvm_mmu_op_release_pt": ("struct", (
        ("header", "kvm_mmu_op_header"),
        ("pt_phys", "u64"),
    )),
    "kvm_vcpu_pv_apf_data": ("struct", (
        ("flags", "u32"),
        ("token", "u32"),
        ("pad", "u8[56]"),
    )),
}


def __getattr__(name):
    return _build(name, globals())


def __dir__():
    return sorted({*globals(), *_LAYOUTS})
