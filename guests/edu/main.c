// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * All of the edu device, once by polling, once by MSI and once by INTx.
 *
 * The report of one edu device must be, line by line, that of any other: so no line holds an
 * address, a place on the bus, a time, or a count that timing decides.
 */
#include "runtime.h"

#include "check.h"
#include "edu.h"
#include "interrupt.h"
#include "pci_bar.h"
#include "platform.h"
#include "registers.h"

int main(void)
{
	struct edu edu;
	struct pci_bar bar;

	platform_init();
	interrupts_init();
	pci_init();

	edu.function = pci_find(EDU_VENDOR_ID, EDU_DEVICE_ID);
	if (!check(edu.function, "there is an edu device"))
		return check_result();
	bar = pci_bar_enable(edu.function, EDU_BAR);
	edu.registers = pci_bar_memory(&bar);
	pci_command(edu.function, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 0);

	test_identity(&edu);
	test_registers(&edu);
	test_factorial(&edu);
	test_dma(&edu);
	test_msi(&edu);
	test_intx(&edu);
	return check_result();
}
