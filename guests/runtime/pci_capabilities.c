// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "pci.h"

#define FIRST_CAPABILITY	0x40
#define FIRST_EXTENDED		0x100

unsigned pci_next_capability(const struct pci_function *f, unsigned offset)
{
	unsigned next;

	if (offset)
		next = pci_read8(f, offset + 1);
	else if (pci_read16(f, PCI_STATUS) & PCI_STATUS_CAP_LIST)
		next = pci_read8(f, PCI_CAPABILITY_LIST);
	else
		return 0;
	next &= ~3;
	return next >= FIRST_CAPABILITY ? next : 0;
}

unsigned pci_next_extended_capability(const struct pci_function *f, unsigned offset)
{
	unsigned next;

	if (!offset) {
		const uint32_t header = pci_read32(f, FIRST_EXTENDED);

		return header && header != UINT32_MAX ? FIRST_EXTENDED : 0;
	}
	next = pci_read32(f, offset) >> 20 & ~3;
	return next >= FIRST_EXTENDED ? next : 0;
}

unsigned pci_find_capability(const struct pci_function *f, uint8_t id)
{
	unsigned offset = 0;

	for (unsigned i = 0; i < PCI_MAX_CAPABILITIES; i++) {
		offset = pci_next_capability(f, offset);
		if (!offset || pci_read8(f, offset) == id)
			return offset;
	}
	return 0;
}

unsigned pci_find_extended_capability(const struct pci_function *f, uint16_t id)
{
	unsigned offset = 0;

	for (unsigned i = 0; i < PCI_MAX_EXTENDED_CAPABILITIES; i++) {
		offset = pci_next_extended_capability(f, offset);
		if (!offset || pci_read16(f, offset) == id)
			return offset;
	}
	return 0;
}
