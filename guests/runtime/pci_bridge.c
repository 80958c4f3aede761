// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Registers: PCI-to-PCI Bridge Architecture 1.2, section 3.2.5. */
#include "pci_bridge.h"

#include <stddef.h>

#define PCI_IO_BASE		0x1c
#define PCI_IO_LIMIT		0x1d
#define PCI_MEMORY_BASE		0x20
#define PCI_MEMORY_LIMIT	0x22
#define PCI_PREF_MEMORY_BASE	0x24
#define PCI_PREF_MEMORY_LIMIT	0x26
#define PCI_PREF_BASE_UPPER32	0x28
#define PCI_PREF_LIMIT_UPPER32	0x2c
#define PCI_IO_BASE_UPPER16	0x30
#define PCI_IO_LIMIT_UPPER16	0x32

#define IO_MASK			0xf0u
#define MEMORY_MASK		0xfff0u
#define IO_GRANULE		0x1000ull
#define MEMORY_GRANULE		0x100000ull

struct pci_window pci_bridge_window(const struct pci_function *bridge, enum pci_window_kind kind)
{
	struct pci_window window = {0};

	switch (kind) {
	case PCI_WINDOW_IO:
		window.start = (pci_read8(bridge, PCI_IO_BASE) & IO_MASK) << 8 |
			       pci_read16(bridge, PCI_IO_BASE_UPPER16) << 16;
		window.end = (pci_read8(bridge, PCI_IO_LIMIT) & IO_MASK) << 8 |
			     pci_read16(bridge, PCI_IO_LIMIT_UPPER16) << 16;
		/* All zeroes: there is no such window. */
		window.end += window.end ? IO_GRANULE : 0;
		break;
	case PCI_WINDOW_PREFETCHABLE:
		window.start = (uint64_t)pci_read32(bridge, PCI_PREF_BASE_UPPER32) << 32 |
			       (uint64_t)(pci_read16(bridge, PCI_PREF_MEMORY_BASE) & MEMORY_MASK) << 16;
		window.end = (uint64_t)pci_read32(bridge, PCI_PREF_LIMIT_UPPER32) << 32 |
			     (uint64_t)(pci_read16(bridge, PCI_PREF_MEMORY_LIMIT) & MEMORY_MASK) << 16;
		window.end += MEMORY_GRANULE;
		break;
	default:
		window.start = (uint64_t)(pci_read16(bridge, PCI_MEMORY_BASE) & MEMORY_MASK) << 16;
		window.end = (uint64_t)(pci_read16(bridge, PCI_MEMORY_LIMIT) & MEMORY_MASK) << 16;
		window.end += MEMORY_GRANULE;
	}
	return window;
}

void pci_bridge_set_window(const struct pci_function *bridge, enum pci_window_kind kind,
			   struct pci_window window)
{
	const uint64_t last = window.end - 1;

	switch (kind) {
	case PCI_WINDOW_IO:
		pci_write8(bridge, PCI_IO_BASE, window.start >> 8);
		pci_write8(bridge, PCI_IO_LIMIT, last >> 8);
		pci_write16(bridge, PCI_IO_BASE_UPPER16, window.start >> 16);
		pci_write16(bridge, PCI_IO_LIMIT_UPPER16, last >> 16);
		break;
	case PCI_WINDOW_PREFETCHABLE:
		pci_write16(bridge, PCI_PREF_MEMORY_BASE, window.start >> 16);
		pci_write16(bridge, PCI_PREF_MEMORY_LIMIT, last >> 16);
		pci_write32(bridge, PCI_PREF_BASE_UPPER32, window.start >> 32);
		pci_write32(bridge, PCI_PREF_LIMIT_UPPER32, last >> 32);
		break;
	default:
		pci_write16(bridge, PCI_MEMORY_BASE, window.start >> 16);
		pci_write16(bridge, PCI_MEMORY_LIMIT, last >> 16);
	}
}

const struct pci_function *pci_bridge_above(const struct pci_function *f)
{
	for (unsigned i = 0; f->bus && i < pci_function_count; i++)
		if (pci_functions[i].header_type == PCI_HEADER_TYPE_BRIDGE &&
		    pci_read8(&pci_functions[i], PCI_SECONDARY_BUS) == f->bus)
			return &pci_functions[i];
	return NULL;
}

void pci_bridge_widen(const struct pci_function *f, enum pci_window_kind kind, uint64_t start,
		      uint64_t size)
{
	const uint64_t end = start + size;

	for (f = pci_bridge_above(f); f; f = pci_bridge_above(f)) {
		struct pci_window window = pci_bridge_window(f, kind);

		if (window.start >= window.end)
			window = (struct pci_window){start, end};
		else if (start >= window.start && end <= window.end)
			continue;
		window.start = start < window.start ? start : window.start;
		window.end = end > window.end ? end : window.end;
		pci_bridge_set_window(f, kind, window);
	}
}
