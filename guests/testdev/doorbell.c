// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* A page for doorbells: the device hears of each, though maybe not at once. */
#include "testdev.h"

#include "check.h"
#include "registers.h"
#include "time.h"

#define RINGS 20

void test_doorbell(const struct testdev *dev)
{
	const uint32_t before = mmio_read32(dev->registers, REG_DOORBELLS);

	check_section("doorbell");
	for (unsigned i = 0; i < RINGS; i++)
		mmio_write32(dev->registers, DOORBELL, i);
	wait_event(mmio_read32(dev->registers, REG_DOORBELLS) - before >= RINGS, LIMIT_US);
	sleep_us(QUIET_US);
	check_equal(mmio_read32(dev->registers, REG_DOORBELLS) - before, RINGS, "rung %u times",
		    RINGS);
}
