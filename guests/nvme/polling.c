// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* What the controller is like at first, and data without interrupts. */
#include "nvme.h"

#include "check.h"
#include "options.h"
#include "registers.h"
#include "string.h"
#include "time.h"

/* As a controller is after a reset, whatever its last user has left. */
void test_reset(struct nvme *nvme)
{
	check_section("reset");
	check(!nvme_is_on(nvme), "the controller is off");
	check_equal(mmio_read32(nvme->registers, NVME_CC), 0, "its configuration is 0");
}

/* Does a page begin with its number, as those of the lab's disks do? */
static bool is_labelled(const uint8_t *page, uint32_t number)
{
	static const char label[] = "LABNVME block ";

	if (memcmp(page, label, sizeof(label) - 1))
		return false;
	for (unsigned i = 0; i < 8; i++) {
		const unsigned digit = number >> 4 * (7 - i) & 0xf;

		if (page[sizeof(label) - 1 + i] != (digit < 10 ? '0' + digit : 'a' + digit - 10))
			return false;
	}
	return true;
}

void test_polling(struct nvme *nvme)
{
	unsigned right = 0, labelled = 0;

	check_section("DMA by polling");
	if (!check(nvme_start(nvme, 2, ALL_ZERO), "it starts"))
		return;
	nvme_submit(nvme, 0, 0);
	check(wait_event(nvme_completed(nvme, 0), LIMIT_US) && nvme_take(nvme, 0),
	      "it tells what it is");
	check_equal(*(const uint16_t *)nvme_data(0), nvme->function->vendor_id,
		    "with the vendor of its configuration space");
	for (uint32_t page = 0; page < 8; page++) {
		nvme_submit(nvme, 1, page);
		if (wait_event(nvme_completed(nvme, 1), LIMIT_US) && nvme_take(nvme, 1))
			right++;
		labelled += is_labelled(nvme_data(1), page);
	}
	check_equal(right, 8, "8 pages are read");
	if (option_given("labelled"))
		check_equal(labelled, 8, "and begin with their numbers");
	check(nvme_stop(nvme), "it stops");
}
