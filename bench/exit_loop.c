// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * The floor under every VMM: what one trapped access costs in a bare C loop over KVM_RUN.
 *
 *   cc -O2 -o exit_loop exit_loop.c && ./exit_loop pio|mmio COUNT
 *
 * A real-mode guest of two instructions, "access; jmp", exits COUNT times; the answer to each
 * exit is one table look-up away, as in a real VMM. Prints nanoseconds per exit on stdout.
 * The in-kernel irqchip is there because every VMM that is compared with this has it.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define CODE_GPA 0x1000
#define RAM_SIZE 0x10000
#define MMIO_GPA 0xd0000 /* no memslot there; reached through ds */
#define PORT 0x80
#define WARM_UP 1000

static const uint8_t pio_guest[] = { 0xe4, PORT, 0xeb, 0xfc };              /* in al, 0x80; jmp */
static const uint8_t mmio_guest[] = { 0x66, 0xa1, 0x00, 0x00, 0xeb, 0xfa }; /* mov eax, [0]; jmp */

static int checked(const char *call, int result)
{
	if (result < 0)
		err(1, "%s", call);
	return result;
}

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

static void run(int vcpu, struct kvm_run *run, long count)
{
	while (count--) {
		checked("KVM_RUN", ioctl(vcpu, KVM_RUN, 0));
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			memset((uint8_t *)run + run->io.data_offset, 0, run->io.size);
			break;
		case KVM_EXIT_MMIO:
			memset(run->mmio.data, 0, run->mmio.len);
			break;
		default:
			errx(1, "exit reason %u was not expected", run->exit_reason);
		}
	}
}

int main(int argc, char **argv)
{
	int is_mmio = argc == 3 && !strcmp(argv[1], "mmio");
	int is_pio = argc == 3 && !strcmp(argv[1], "pio");
	long count = argc == 3 ? strtol(argv[2], NULL, 0) : 0;

	if (!(is_pio || is_mmio) || count <= 0)
		errx(2, "usage: %s pio|mmio COUNT", argv[0]);

	int kvm = checked("open /dev/kvm", open("/dev/kvm", O_RDWR | O_CLOEXEC));
	int vm = checked("KVM_CREATE_VM", ioctl(kvm, KVM_CREATE_VM, 0));
	checked("KVM_SET_TSS_ADDR", ioctl(vm, KVM_SET_TSS_ADDR, 0xfeffd000));
	checked("KVM_CREATE_IRQCHIP", ioctl(vm, KVM_CREATE_IRQCHIP, 0));

	uint8_t *ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		err(1, "mmap of guest RAM");
	if (is_mmio)
		memcpy(ram + CODE_GPA, mmio_guest, sizeof(mmio_guest));
	else
		memcpy(ram + CODE_GPA, pio_guest, sizeof(pio_guest));
	struct kvm_userspace_memory_region slot = {
		.memory_size = RAM_SIZE,
		.userspace_addr = (uintptr_t)ram,
	};
	checked("KVM_SET_USER_MEMORY_REGION", ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot));

	int vcpu = checked("KVM_CREATE_VCPU", ioctl(vm, KVM_CREATE_VCPU, 0));
	int run_size = checked("KVM_GET_VCPU_MMAP_SIZE", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	struct kvm_run *state = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (state == MAP_FAILED)
		err(1, "mmap of kvm_run");

	struct kvm_sregs sregs;
	checked("KVM_GET_SREGS", ioctl(vcpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	sregs.ds.base = MMIO_GPA;
	sregs.ds.selector = MMIO_GPA >> 4;
	checked("KVM_SET_SREGS", ioctl(vcpu, KVM_SET_SREGS, &sregs));
	struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2 };
	checked("KVM_SET_REGS", ioctl(vcpu, KVM_SET_REGS, &regs));

	run(vcpu, state, WARM_UP);
	double start = now_ns();
	run(vcpu, state, count);
	printf("%.0f\n", (now_ns() - start) / count);
	return 0;
}
