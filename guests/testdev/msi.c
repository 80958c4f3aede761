// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msi.h"

#include <stddef.h>

#include "check.h"
#include "interrupt.h"
#include "lapic.h"
#include "registers.h"
#include "testdev.h"
#include "time.h"

static uint8_t first_vector;

static void raise(const struct testdev *dev, unsigned message)
{
	mmio_write32(dev->registers, REG_IRQ_RAISE, message);
}

static void check_count(unsigned message, unsigned expected, const char *when)
{
	wait_event(interrupt_count(first_vector + message) >= expected, LIMIT_US);
	check_equal(interrupt_count(first_vector + message), expected,
		    "%s: the count of message %u is %u", when, message, expected);
}

static void test_all(const struct testdev *dev)
{
	for (unsigned i = 0; i < MSI_MESSAGES; i++)
		raise(dev, i);
	for (unsigned i = 0; i < MSI_MESSAGES; i++)
		check_count(i, 1, "each raised");
}

static void test_mask(const struct testdev *dev, const struct msi *msi)
{
	msi_set_mask(msi, 5, true);
	raise(dev, 5);
	check(wait_event(msi_pending(msi) == 1 << 5, LIMIT_US), "masked: message 5 is pending");
	sleep_us(QUIET_US);
	check_equal(interrupt_count(first_vector + 5), 1, "masked: message 5 is held back");
	raise(dev, 4);
	check_count(4, 2, "its neighbour");
	msi_set_mask(msi, 5, false);
	check_count(5, 2, "unmasked");
	check_equal(msi_pending(msi), 0, "and is no longer pending");
}

void test_msi(const struct testdev *dev)
{
	struct msi msi;

	check_section("MSI");
	if (!check(msi_init(&msi, dev->function), "there is a capability"))
		return;
	check(msi.messages == MSI_MESSAGES && msi.has_64bit && msi.has_mask,
	      "it has 8 messages, 64-bit addresses, masks");
	first_vector = vectors_allocate(MSI_MESSAGES);
	for (unsigned i = 0; i < MSI_MESSAGES; i++)
		interrupt_handle(first_vector + i, NULL);

	msi_enable(&msi, first_vector, MSI_MESSAGES, lapic_id());
	check_equal(mmio_read32(dev->registers, REG_IRQ_MODE), MODE_MSI, "the mode is MSI");
	test_all(dev);
	test_mask(dev, &msi);

	/* An operating system may grant fewer than were asked for. */
	msi_disable(&msi);
	msi_enable(&msi, first_vector, 2, lapic_id());
	raise(dev, 0);
	raise(dev, 1);
	check_count(0, 2, "two messages granted");
	check_count(1, 2, "two messages granted");
	msi_disable(&msi);
}
