/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The device to storm: testdev, or else edu, which has fewer kinds of storm in it. */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "mmio.h"

struct target {
	const char *name;		/* NULL: there is no device */
	mmio_t registers;
	unsigned scratch;		/* a trapped register that can be read and written */
	mmio_t mapped;			/* memory that does not trap, or NULL */
	mmio_t traps;			/* the count of trapped accesses, itself trapped; or NULL */
	unsigned vectors;		/* interrupts it can raise */
};

extern struct target target;

/* Find the device, and switch it on. Needs pci_init(). */
void target_init(void);

/* Let the device's interrupt `index` come as `vector` on the CPU `apic_id`. */
void target_enable_interrupt(unsigned index, uint8_t vector, uint8_t apic_id);

/* Have the device send it once. */
void target_raise(unsigned index);

/* To be called by the handler. */
void target_acknowledge(void);

#endif
