// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* All of testdev: BARs of each kind, their relocation, power, resets, interrupts, DMA. */
#include "runtime.h"

#include "check.h"
#include "interrupt.h"
#include "platform.h"
#include "registers.h"
#include "testdev.h"

static void enable(struct testdev *dev)
{
	const struct pci_function *f = dev->function;

	dev->bar0 = pci_bar_enable(f, 0);
	dev->bar1 = pci_bar_enable(f, 1);
	dev->bar2 = pci_bar_enable(f, 2);
	dev->bar4 = pci_bar_enable(f, 4);
	dev->bar5 = pci_bar_enable(f, 5);
	dev->registers = pci_bar_memory(&dev->bar0);
	dev->ports = dev->bar1.address;
	dev->buffer = pci_bar_memory(&dev->bar2);
	dev->small = pci_bar_memory(&dev->bar4);
	dev->small_ram = pci_bar_memory(&dev->bar5);
	pci_command(f, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 0);
}

int main(void)
{
	struct testdev dev;

	platform_init();
	interrupts_init();
	pci_init();

	dev.function = pci_find(TESTDEV_VENDOR_ID, TESTDEV_DEVICE_ID);
	if (!check(dev.function, "there is a testdev device"))
		return check_result();
	enable(&dev);

	test_config(&dev);
	test_registers(&dev);
	test_mapped(&dev);
	test_small_bars(&dev);
	test_rom(&dev);
	test_relocation(&dev);
	test_power(&dev);
	test_reset(&dev);
	test_doorbell(&dev);
	test_msix(&dev);
	test_msi(&dev);
	test_intx(&dev);
	test_switching(&dev);
	test_dma(&dev);
	return check_result();
}
