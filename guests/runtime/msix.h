/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* MSI-X (PCI Local Bus 3.0, 6.8.2): a table of messages in a BAR, each with its own mask. */
#ifndef MSIX_H
#define MSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "mmio.h"
#include "pci.h"

struct msix {
	const struct pci_function *function;
	unsigned capability;		/* its offset */
	unsigned vectors;
	unsigned table_bar, pba_bar;
	uint64_t table_offset, pba_offset;
	mmio_t table, pba;		/* after msix_map() */
};

struct msix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control;		/* bit 0: masked */
};

/* Read the capability; false if there is none. */
bool msix_init(struct msix *msix, const struct pci_function *f);

/* Enable the BARs of the table and the PBA; before anything that follows. */
void msix_map(struct msix *msix);

/* Write a table entry, masked. */
void msix_set_entry(const struct msix *msix, unsigned index, uint8_t vector, uint8_t apic_id);
struct msix_entry msix_entry(const struct msix *msix, unsigned index);
void msix_set_mask(const struct msix *msix, unsigned index, bool masked);
bool msix_pending(const struct msix *msix, unsigned index);

void msix_enable(const struct msix *msix);
/* The same, with the function mask set. */
void msix_enable_masked(const struct msix *msix);
void msix_disable(const struct msix *msix);
void msix_set_function_mask(const struct msix *msix, bool masked);

#endif
