/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The I/O APIC: interrupt lines (GSIs) to vectors. */
#ifndef IOAPIC_H
#define IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

enum trigger {
	EDGE_HIGH,			/* ISA */
	LEVEL_LOW,			/* PCI INTx */
};

/* Send `gsi` to `vector` on the CPU `apic_id`, unmasked. Needs platform_init(). */
void ioapic_route(unsigned gsi, enum trigger trigger, uint8_t vector, uint8_t apic_id);

void ioapic_set_mask(unsigned gsi, bool masked);

#endif
