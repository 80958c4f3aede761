// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "pci.h"

#include <stddef.h>

#define NO_DEVICE 0xffff

struct pci_function pci_functions[PCI_MAX_FUNCTIONS];
unsigned pci_function_count;

static void scan_bus(uint8_t bus);

static void add(struct pci_function f)
{
	const uint32_t class_revision = pci_read32(&f, PCI_CLASS_REVISION);

	if (pci_function_count == PCI_MAX_FUNCTIONS)
		return;
	f.device_id = pci_read16(&f, PCI_DEVICE_ID);
	f.class_code = class_revision >> 8;
	f.revision = class_revision & 0xff;
	f.header_type = pci_read8(&f, PCI_HEADER_TYPE) & PCI_HEADER_TYPE_MASK;
	pci_functions[pci_function_count++] = f;
	if (f.header_type == PCI_HEADER_TYPE_BRIDGE) {
		const uint8_t secondary = pci_read8(&f, PCI_SECONDARY_BUS);

		/* Bus numbers grow downstream; anything else would be a loop. */
		if (secondary > f.bus)
			scan_bus(secondary);
	}
}

static void scan_bus(uint8_t bus)
{
	for (unsigned device = 0; device < 32; device++) {
		unsigned functions = 1;

		for (unsigned function = 0; function < functions; function++) {
			struct pci_function f = {
				.bus = bus, .device = device, .function = function,
			};

			f.vendor_id = pci_read16(&f, PCI_VENDOR_ID);
			if (f.vendor_id == NO_DEVICE)
				continue;
			if (pci_read8(&f, PCI_HEADER_TYPE) & PCI_HEADER_MULTIFUNCTION)
				functions = 8;
			add(f);
		}
	}
}

void pci_init(void)
{
	pci_function_count = 0;
	scan_bus(0);
}

const struct pci_function *pci_find(uint16_t vendor_id, uint16_t device_id)
{
	for (unsigned i = 0; i < pci_function_count; i++)
		if (pci_functions[i].vendor_id == vendor_id &&
		    pci_functions[i].device_id == device_id)
			return &pci_functions[i];
	return NULL;
}
