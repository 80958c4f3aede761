/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Base address registers: what a function has, where it is, and putting it elsewhere. */
#ifndef PCI_BAR_H
#define PCI_BAR_H

#include <stdbool.h>
#include <stdint.h>

#include "mmio.h"
#include "pci.h"

#define PCI_ROM_BAR	6		/* the index of the expansion ROM */
#define PCI_BARS	7

enum pci_bar_kind {
	PCI_BAR_NONE,			/* not there, or the upper half of a 64-bit one */
	PCI_BAR_IO,
	PCI_BAR_MEM32,
	PCI_BAR_MEM64,
	PCI_BAR_ROM,
};

struct pci_bar {
	enum pci_bar_kind kind;
	uint8_t offset;			/* in config space */
	bool prefetchable;
	uint64_t address;
	uint64_t size;			/* bytes */
};

/*
 * Find out what BAR `index` is. Its function decodes nothing meanwhile: a BAR under sizing
 * would answer at the wrong address.
 */
struct pci_bar pci_bar_probe(const struct pci_function *f, unsigned index);

/*
 * Write an address to the register, and widen the windows of bridges above, if there are any, so
 * that they pass it on. Decoding should be off. A ROM's enable bit is cleared.
 */
void pci_bar_move(const struct pci_function *f, struct pci_bar *bar, uint64_t address);

/* An address, naturally aligned, below 4 GiB, where no BAR of any function is. */
uint64_t pci_bar_unused_address(const struct pci_bar *bar);

/*
 * Make BAR `index` usable: give it an address if it has none, switch on its decoding, and, for
 * memory, map it. Panics if there is no such BAR.
 */
struct pci_bar pci_bar_enable(const struct pci_function *f, unsigned index);

static inline mmio_t pci_bar_memory(const struct pci_bar *bar)
{
	return (mmio_t)bar->address;
}

#endif
