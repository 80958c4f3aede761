// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Function-level reset: what it takes away, and that all works again once it is put back. */
#include "testdev.h"

#include "check.h"
#include "registers.h"
#include "time.h"

#define COMMAND_BITS	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
#define RESET_US	100000	/* PCI Express Base 6.0, section 6.6.2 */
#define BARS		6

void test_reset(const struct testdev *dev)
{
	const struct pci_function *f = dev->function;
	const uint16_t control = pci_read16(f, CAP_EXPRESS + PCI_EXP_DEVCTL);
	uint16_t command;
	uint32_t bars[BARS];

	check_section("function-level reset");
	if (!check(pci_read32(f, CAP_EXPRESS + PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR,
		   "the function can be reset"))
		return;
	for (unsigned i = 0; i < BARS; i++)
		bars[i] = pci_read32(f, PCI_BASE_ADDRESS_0 + 4 * i);
	command = pci_command(f, COMMAND_BITS, 0) | COMMAND_BITS;
	mmio_write32(dev->registers, REG_SCRATCH, 0x12345678);
	mmio_write32(dev->registers, MAPPED_START, 0xbeef);

	pci_write16(f, CAP_EXPRESS + PCI_EXP_DEVCTL, control | PCI_EXP_DEVCTL_FLR);
	sleep_us(RESET_US);

	check_equal(pci_read32(f, PCI_VENDOR_ID), TESTDEV_DEVICE_ID << 16 | TESTDEV_VENDOR_ID,
		    "after it: it answers");
	check_equal(pci_read16(f, CAP_EXPRESS + PCI_EXP_DEVCTL) & PCI_EXP_DEVCTL_FLR, 0,
		    "after it: the bit reads zero");
	check_equal(pci_read16(f, PCI_COMMAND) & COMMAND_BITS, 0,
		    "after it: no decoding, no bus mastering");
	check_equal(pci_read32(f, PCI_BASE_ADDRESS_0), 0, "after it: BAR 0 is at 0");
	check_equal(mmio_read32(dev->registers, MAPPED_START), UINT32_MAX,
		    "after it: the mapped area reads all-ones");
	for (unsigned i = 0; i < BARS; i++)
		pci_write32(f, PCI_BASE_ADDRESS_0 + 4 * i, bars[i]);
	pci_write16(f, PCI_COMMAND, command);
	check_equal(mmio_read32(dev->registers, REG_ID), ID_VALUE, "restored: ID is there");
	check_equal(mmio_read32(dev->registers, REG_SCRATCH), 0, "restored: SCRATCH is 0");
	check_equal(mmio_read32(dev->registers, MAPPED_START), 0xbeef,
		    "restored: memory has what was in it");
}
