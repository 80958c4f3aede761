/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the machine has besides RAM and PCI devices, as ACPI tables or else an MP table tell:
 * CPUs, interrupt controllers, ECAM.
 */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stdbool.h>
#include <stdint.h>

/* All that have an id in xAPIC mode, where 255 addresses every CPU. */
#define MAX_CPUS 255

struct platform {
	const char *source;		/* "ACPI", "MP table", or "none" */
	unsigned cpus;
	uint8_t apic_ids[MAX_CPUS];
	unsigned cpus_left_out;		/* listed, but beyond xAPIC mode */
	uint64_t lapic_address;
	uint64_t ioapic_address;
	unsigned ioapic_gsi_base;
	uint8_t isa_gsi[16];		/* the GSI of each ISA interrupt */
	uint64_t ecam_address;		/* of bus 0; 0: no ECAM */
	unsigned ecam_last_bus;
	uint16_t reset_port;		/* FADT RESET_REG in I/O space; 0: none */
	uint8_t reset_value;
};

extern struct platform platform;

void platform_init(void);

/* One more CPU, as a table lists it. */
void platform_add_cpu(uint32_t apic_id);

#endif
