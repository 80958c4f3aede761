# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The vCPUs as the config wants them: what CPUID answers, the TSC, the registers at boot."""

from __future__ import annotations

from pyvmm.kvm import add_timing, guest_cpuid, has_invariant_tsc, physical_bits, withhold
from pyvmm.memory import OutOfHostMemory, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyvmm.config import VmConfig
    from pyvmm.kvm import System, Vcpu, Vm
    from pyvmm.uapi.kvm import kvm_cpuid_entry2


class Processors:
    """Makes the vCPUs of a VM."""

    def __init__(self, system: System, config: VmConfig) -> None:
        """Ask KVM what it can give. Raises KvmCallFailed."""
        self._cpus = config.cpus
        self._cpu = config.cpu
        self._leaves = system.supported_cpuid()
        withhold(self._leaves)

    @property
    def physical_bits(self) -> int:
        """How wide the guest's physical addresses are, in bits."""
        return physical_bits(self._leaves_of(0))

    def check_reach(self, ram_size: int) -> None:
        """Raises OutOfHostMemory for RAM that vCPUs have no addresses for."""
        bits = self.physical_bits
        end = layout.ram_end(ram_size)
        if end > 1 << bits:
            raise OutOfHostMemory(
                f"{ram_size >> 20} MiB of guest RAM end at {end:#x}, but the guest's processors "
                f"have addresses of {bits} bits: give the guest less memory"
            )

    def create(self, vm: Vm) -> None:
        """Create all vCPUs. Raises KvmCallFailed, CpuFeatureMissing."""
        for index in range(self._cpus):
            vcpu = vm.create_vcpu(index)
            if self._cpu.tsc_khz is not None:
                vcpu.set_tsc_khz(self._cpu.tsc_khz)
            if index == 0 and (has_invariant_tsc(self._leaves) or self._cpu.tsc_khz is not None):
                tsc_khz = vcpu.get_tsc_khz()
                if tsc_khz:
                    add_timing(self._leaves, tsc_khz)
            leaves = self._leaves_of(index)
            vcpu.set_cpuid(leaves)
            vcpu.set_boot_msrs(leaves)

    def set_boot_msrs(self, vcpu: Vcpu) -> None:
        """As firmware leaves them, after a reset too. Raises KvmCallFailed."""
        vcpu.set_boot_msrs(self._leaves_of(vcpu.index))

    def _leaves_of(self, index: int) -> list[kvm_cpuid_entry2]:
        """What CPUID answers on a vCPU. Raises CpuFeatureMissing."""
        leaves = guest_cpuid(self._leaves, index, self._cpus)
        if self._cpu.features or self._cpu.cpuid:
            # A table of names that most VMs don't need.
            from pyvmm.kvm.cpu_features import apply_masks, choose_features

            choose_features(leaves, self._cpu.features)
            apply_masks(leaves, self._cpu.cpuid)
        return leaves
