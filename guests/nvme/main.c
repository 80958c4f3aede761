// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * The interrupts of an NVMe controller: MSI-X with a vector for each of 33 queues, INTx, changes
 * between them; and DMA, without which nothing of it would work. It reads, and never writes.
 */
#include "runtime.h"

#include "check.h"
#include "interrupt.h"
#include "nvme.h"
#include "options.h"
#include "platform.h"

int main(void)
{
	static struct nvme nvme;

	platform_init();
	interrupts_init();
	pci_init();

	if (!check(nvme_find(&nvme), "there is an NVMe controller"))
		return check_result();
	if (option_given("used"))
		nvme_stop(&nvme);
	else
		test_reset(&nvme);
	if (option_given("leave-on")) {
		check(nvme_start(&nvme, 2, ALL_ZERO), "it is left on, with its queues in memory");
		return check_result();
	}
	if (option_given("shared")) {
		test_shared_line(&nvme);
		return check_result();
	}
	test_polling(&nvme);
	test_msix(&nvme);
	test_msix_growing(&nvme);
	test_intx(&nvme);
	test_switching(&nvme);
	return check_result();
}
