// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msix.h"

#include <stddef.h>

#include "check.h"
#include "interrupt.h"
#include "lapic.h"
#include "registers.h"
#include "testdev.h"
#include "time.h"

static uint8_t first_vector;

static void raise(const struct testdev *dev, unsigned index)
{
	mmio_write32(dev->registers, REG_IRQ_RAISE, index);
}

static void check_count(unsigned index, unsigned expected, const char *when)
{
	wait_event(interrupt_count(first_vector + index) >= expected, LIMIT_US);
	check_equal(interrupt_count(first_vector + index), expected,
		    "%s: the count of vector %u is %u", when, index, expected);
}

/* While masked: it does not come, and the pending bit tells of it. */
static void check_held_back(const struct msix *msix, unsigned index, unsigned expected,
			    const char *when)
{
	check(wait_event(msix_pending(msix, index), LIMIT_US), "%s: vector %u is pending", when,
	      index);
	sleep_us(QUIET_US);
	check_equal(interrupt_count(first_vector + index), expected, "%s: vector %u is held back",
		    when, index);
}

static void test_table(const struct msix *msix)
{
	unsigned masked = 0, wrong = 0;

	for (unsigned i = 0; i < MSIX_VECTORS; i++)
		masked += msix_entry(msix, i).control & 1;
	check_equal(masked, MSIX_VECTORS, "all vectors are masked at first");
	for (unsigned i = 0; i < MSIX_VECTORS; i++)
		msix_set_entry(msix, i, first_vector + i, lapic_id());
	for (unsigned i = 0; i < MSIX_VECTORS; i++) {
		const struct msix_entry entry = msix_entry(msix, i);

		wrong += entry.address != msi_address(lapic_id()) ||
			 entry.data != msi_data(first_vector + i) || !(entry.control & 1);
	}
	check_equal(wrong, 0, "the table reads back");
	mmio_write64(msix->pba, 0, UINT64_MAX);
	check_equal(mmio_read64(msix->pba, 0), 0, "the PBA is read-only, and nothing is pending");
}

/* Each on its own: a vector that goes to another's handler shows. */
static void test_all(const struct testdev *dev)
{
	unsigned right = 0;

	for (unsigned i = 0; i < MSIX_VECTORS; i++)
		raise(dev, i);
	wait_event(interrupt_count(first_vector + MSIX_VECTORS - 1) >= 1, LIMIT_US);
	sleep_us(QUIET_US);
	for (unsigned i = 0; i < MSIX_VECTORS; i++)
		right += interrupt_count(first_vector + i) == 1;
	check_equal(right, MSIX_VECTORS, "each vector comes once");
}

static void test_masks(const struct testdev *dev, const struct msix *msix)
{
	msix_set_mask(msix, 5, true);
	raise(dev, 5);
	raise(dev, 5);
	check_held_back(msix, 5, 1, "vector masked");
	raise(dev, 6);
	check_count(6, 2, "its neighbour");
	msix_set_mask(msix, 5, false);
	check_count(5, 2, "vector unmasked");
	check(!msix_pending(msix, 5), "and is no longer pending");

	msix_set_function_mask(msix, true);
	raise(dev, 3);
	raise(dev, 63);
	check_held_back(msix, 3, 1, "function masked");
	check_held_back(msix, 63, 1, "function masked");
	msix_set_mask(msix, 3, true);
	msix_set_function_mask(msix, false);
	check_count(63, 2, "function unmasked");
	check_held_back(msix, 3, 1, "function unmasked, vector masked");
	msix_set_mask(msix, 3, false);
	check_count(3, 2, "both unmasked");
}

/* A vector sent elsewhere while masked, as an operating system does to move an interrupt. */
static void test_retarget(const struct testdev *dev, const struct msix *msix)
{
	msix_set_entry(msix, 7, first_vector + 8, lapic_id());
	msix_set_mask(msix, 7, false);
	raise(dev, 7);
	check_count(8, 2, "7 sent to the handler of 8");
	msix_set_entry(msix, 7, first_vector + 7, lapic_id());
	msix_set_mask(msix, 7, false);
	raise(dev, 7);
	check_count(7, 2, "7 sent back");
}

void test_msix(const struct testdev *dev)
{
	struct msix msix;

	check_section("MSI-X");
	if (!check(msix_init(&msix, dev->function), "there is a capability"))
		return;
	check_equal(msix.vectors, MSIX_VECTORS, "it has 64 vectors");
	check(msix.table_bar == 0 && msix.table_offset == MSIX_TABLE,
	      "its table is in BAR 0 at 0x%x", MSIX_TABLE);
	check(msix.pba_bar == 0 && msix.pba_offset == MSIX_PBA, "its PBA is in BAR 0 at 0x%x",
	      MSIX_PBA);
	msix_map(&msix);
	mmio_write32(dev->registers, REG_SCRATCH, 0x600d);
	first_vector = vectors_allocate(MSIX_VECTORS);
	for (unsigned i = 0; i < MSIX_VECTORS; i++)
		interrupt_handle(first_vector + i, NULL);

	test_table(&msix);
	msix_enable(&msix);
	for (unsigned i = 0; i < MSIX_VECTORS; i++)
		msix_set_mask(&msix, i, false);
	check_equal(mmio_read32(dev->registers, REG_IRQ_MODE), MODE_MSIX, "the mode is MSI-X");
	test_all(dev);
	test_masks(dev, &msix);
	test_retarget(dev, &msix);
	for (unsigned i = 0; i < MSIX_VECTORS; i++)
		msix_set_mask(&msix, i, true);
	msix_disable(&msix);
	check_equal(mmio_read32(dev->registers, REG_SCRATCH), 0x600d,
		    "the register beside the table is as it was");
}
