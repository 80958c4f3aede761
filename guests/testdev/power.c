// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Power states: asleep, a function takes configuration accesses and nothing else. */
#include "testdev.h"

#include "check.h"
#include "cpu.h"
#include "registers.h"
#include "time.h"

#define WAKING_US	10000	/* PCI Bus Power Management 1.2, table 5-6 */

static void set_state(const struct pci_function *f, uint16_t state)
{
	pci_write16(f, CAP_PM + PCI_PM_CTRL, state);
	sleep_us(WAKING_US);
}

void test_power(const struct testdev *dev)
{
	const struct pci_function *f = dev->function;

	check_section("power");
	mmio_write32(dev->registers, REG_SCRATCH, 0x600d);
	mmio_write32(dev->buffer, 0, 0xbeef);
	set_state(f, PCI_PM_D3HOT);
	check_equal(pci_read16(f, CAP_PM + PCI_PM_CTRL) & PCI_PM_STATE_MASK, PCI_PM_D3HOT,
		    "the state is D3hot");
	check_equal(mmio_read32(dev->registers, REG_ID), UINT32_MAX,
		    "asleep: registers read all-ones");
	check_equal(mmio_read32(dev->registers, MAPPED_START), UINT32_MAX,
		    "asleep: the mapped area reads all-ones");
	check_equal(mmio_read32(dev->buffer, 0), UINT32_MAX, "asleep: BAR 2 reads all-ones");
	check_equal(mmio_read32(dev->small_ram, 0), UINT32_MAX, "asleep: BAR 5 reads all-ones");
	check_equal(inl(dev->ports + IO_ID), UINT32_MAX, "asleep: ports read all-ones");
	mmio_write32(dev->buffer, 0, 0xbad);
	check_equal(pci_read16(f, PCI_VENDOR_ID), TESTDEV_VENDOR_ID, "asleep: it has its vendor id");
	set_state(f, PCI_PM_D0);
	check_equal(pci_read16(f, CAP_PM + PCI_PM_CTRL) & PCI_PM_STATE_MASK, PCI_PM_D0,
		    "the state is D0");
	check_equal(mmio_read32(dev->registers, REG_SCRATCH), 0x600d, "awake: SCRATCH has its value");
	check_equal(mmio_read32(dev->buffer, 0), 0xbeef, "awake: BAR 2 has what was in it");
	check_equal(inl(dev->ports + IO_ID), ID_VALUE, "awake: ports work");
}
