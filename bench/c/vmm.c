// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vmm.h"

#include <err.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_SIZE	0x10000
#define FIRMWARE_SIZE	0x10000
#define FIRMWARE_GPA	(0x100000000ull - FIRMWARE_SIZE)
#define TSS_GPA		0xfeffd000
#define SERIAL_PORT	0x3f8
#define DEBUG_EXIT_PORT	0xf4

int checked(const char *call, int result)
{
	if (result < 0)
		err(1, "%s", call);
	return result;
}

static void *mapped(size_t size, int flags, int fd)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED)
		err(1, "mmap");
	return at;
}

static void add_memory(int vm, int slot, uint64_t gpa, void *host, uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	checked("KVM_SET_USER_MEMORY_REGION", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
}

void vmm_create(struct vmm *vmm, const char *firmware)
{
	int kvm = checked("open /dev/kvm", open("/dev/kvm", O_RDWR | O_CLOEXEC));
	int image = checked(firmware, open(firmware, O_RDONLY | O_CLOEXEC));
	int run_size = checked("KVM_GET_VCPU_MMAP_SIZE", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));

	vmm->vm = checked("KVM_CREATE_VM", ioctl(kvm, KVM_CREATE_VM, 0));
	add_memory(vmm->vm, 0, 0, mapped(RAM_SIZE, MAP_SHARED | MAP_ANONYMOUS, -1), RAM_SIZE);
	add_memory(vmm->vm, 1, FIRMWARE_GPA, mapped(FIRMWARE_SIZE, MAP_PRIVATE, image),
		   FIRMWARE_SIZE);
	checked("KVM_SET_TSS_ADDR", ioctl(vmm->vm, KVM_SET_TSS_ADDR, TSS_GPA));
	checked("KVM_CREATE_IRQCHIP", ioctl(vmm->vm, KVM_CREATE_IRQCHIP, 0));
	vmm->vcpu = checked("KVM_CREATE_VCPU", ioctl(vmm->vm, KVM_CREATE_VCPU, 0));
	vmm->run = mapped(run_size, MAP_SHARED, vmm->vcpu);
}

/* Whether the guest goes on. */
static int answer_port(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	if (run->io.direction == KVM_EXIT_IO_IN) {
		memset(data, 0xff, run->io.size * run->io.count);
		return 1;
	}
	switch (run->io.port) {
	case SERIAL_PORT:
		checked("write", write(STDOUT_FILENO, data, 1));
		return 1;
	case DEBUG_EXIT_PORT:
		return 0;
	default:
		return 1;
	}
}

void vmm_run(struct vmm *vmm)
{
	struct kvm_run *run = vmm->run;

	for (;;) {
		checked("KVM_RUN", ioctl(vmm->vcpu, KVM_RUN, 0));
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			if (!answer_port(run))
				return;
			break;
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, run->mmio.len);
			break;
		default:
			errx(1, "exit reason %u was not expected", run->exit_reason);
		}
	}
}
