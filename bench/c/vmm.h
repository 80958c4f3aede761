// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * The least VMM there can be, in C: the floor under every other one.
 *
 * One vCPU, 64 KiB of RAM at 0, a firmware image of 64 KiB that ends at 4 GiB, the in-kernel
 * irqchip. Exits are answered by a switch: COM1's data port goes to stdout, the debug-exit port
 * ends the run, everything else reads as all-ones.
 */
#ifndef BENCH_VMM_H
#define BENCH_VMM_H

#include <linux/kvm.h>

struct vmm {
	int vm;
	int vcpu;
	struct kvm_run *run;
};

/* result, unless it is negative: then the end, with the failed call's name and errno. */
int checked(const char *call, int result);

void vmm_create(struct vmm *vmm, const char *firmware);

/* Run the guest on this thread until it writes to the debug-exit port. */
void vmm_run(struct vmm *vmm);

#endif
