/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Bridges: which bus is behind one, and which addresses it passes on to there. */
#ifndef PCI_BRIDGE_H
#define PCI_BRIDGE_H

#include <stdint.h>

#include "pci.h"

enum pci_window_kind {
	PCI_WINDOW_IO,
	PCI_WINDOW_MEMORY,		/* below 4 GiB */
	PCI_WINDOW_PREFETCHABLE,
	PCI_WINDOWS,
};

struct pci_window {
	uint64_t start, end;		/* closed unless start < end */
};

/* What a bridge passes on while its command register lets it. */
struct pci_window pci_bridge_window(const struct pci_function *bridge, enum pci_window_kind kind);

/* Passes nothing on. */
#define PCI_WINDOW_CLOSED ((struct pci_window){0xfff00000, 0x100000})

void pci_bridge_set_window(const struct pci_function *bridge, enum pci_window_kind kind,
			   struct pci_window window);

/* The bridge to the bus that a function is on, or NULL for bus 0. */
const struct pci_function *pci_bridge_above(const struct pci_function *f);

/* Widen a window of the bridges above a function so that they pass on [start, start + size). */
void pci_bridge_widen(const struct pci_function *f, enum pci_window_kind kind, uint64_t start,
		      uint64_t size);

#endif
