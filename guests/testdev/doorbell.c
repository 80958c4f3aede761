// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * A page for doorbells: the device hears of each, though maybe not at once, and without a trap.
 * Where VMM or server know no such thing, say so by doorbell=traps; then each one traps.
 */
#include "testdev.h"

#include "check.h"
#include "options.h"
#include "registers.h"
#include "time.h"

#define RINGS 20

void test_doorbell(const struct testdev *dev)
{
	const uint32_t before = mmio_read32(dev->registers, REG_DOORBELLS);
	const uint32_t traps = mmio_read32(dev->registers, REG_TRAPS);
	uint32_t trapped;

	check_section("doorbell");
	for (unsigned i = 0; i < RINGS; i++)
		mmio_write32(dev->registers, DOORBELL, i);
	trapped = mmio_read32(dev->registers, REG_TRAPS) - traps - 1;
	wait_event(mmio_read32(dev->registers, REG_DOORBELLS) - before >= RINGS, LIMIT_US);
	sleep_us(QUIET_US);
	check_equal(mmio_read32(dev->registers, REG_DOORBELLS) - before, RINGS, "rung %u times",
		    RINGS);
	if (option_is("doorbell", "traps"))
		check_equal(trapped, RINGS, "each time it trapped");
	else
		check_equal(trapped, 0, "none of that trapped");
}
