// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "intx.h"

#include "ioapic.h"

void intx_enable(const struct pci_function *f, uint8_t vector, uint8_t apic_id)
{
	ioapic_route(pci_read8(f, PCI_INTERRUPT_LINE), LEVEL_LOW, vector, apic_id);
	pci_command(f, 0, PCI_COMMAND_INTX_DISABLE);
}

void intx_disable(const struct pci_function *f)
{
	pci_command(f, PCI_COMMAND_INTX_DISABLE, 0);
	intx_set_pin_mask(f, true);
}

void intx_set_pin_mask(const struct pci_function *f, bool masked)
{
	ioapic_set_mask(pci_read8(f, PCI_INTERRUPT_LINE), masked);
}

bool intx_pending(const struct pci_function *f)
{
	return pci_read16(f, PCI_STATUS) & PCI_STATUS_INTERRUPT;
}
