// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "edu.h"

#include "check.h"
#include "msi.h"
#include "pci_bar.h"
#include "registers.h"

void test_identity(const struct edu *edu)
{
	const struct pci_function *f = edu->function;
	const struct pci_bar bar = pci_bar_probe(f, EDU_BAR);
	struct msi msi;

	check_section("identity");
	check_equal(f->revision, 0x10, "revision is 0x10");
	check_equal(f->class_code, 0x00ff00, "class is 00ff00");
	check_equal(f->header_type, 0, "header type is 0");
	check_equal(pci_read8(f, PCI_INTERRUPT_PIN), 1, "interrupt pin is A");
	check(bar.kind == PCI_BAR_MEM32 && !bar.prefetchable,
	      "BAR 0 is 32-bit memory, not prefetchable");
	check_equal(bar.size, EDU_BAR_SIZE, "BAR 0 has 1 MiB");
	for (unsigned index = 1; index < PCI_BARS; index++)
		check(pci_bar_probe(f, index).kind == PCI_BAR_NONE, "there is no BAR %u", index);
	check(msi_init(&msi, f) && msi.messages == 1 && msi.has_64bit && !msi.has_mask,
	      "MSI has 1 message, 64-bit addresses, no masks");
	check_equal(pci_find_capability(f, PCI_CAP_ID_MSIX), 0, "there is no MSI-X");
	check_equal(mmio_read32(edu->registers, EDU_ID), EDU_ID_VALUE,
		    "identification is 0x%08x", EDU_ID_VALUE);
}
