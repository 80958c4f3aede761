// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* RAM in BARs: memory like any other, and, mapped, without a trap. */
#include "testdev.h"

#include "check.h"
#include "registers.h"

static void test_widths(mmio_t memory, uint64_t offset, const char *name)
{
	mmio_write64(memory, offset, 0x8877665544332211);
	check_equal(mmio_read64(memory, offset), 0x8877665544332211, "%s holds 8 bytes", name);
	mmio_write32(memory, offset + 4, 0xccddeeff);
	mmio_write16(memory, offset + 2, 0xaabb);
	mmio_write8(memory, offset + 1, 0x99);
	check_equal(mmio_read64(memory, offset), 0xccddeeffaabb9911, "%s takes 1, 2 and 4 bytes",
		    name);
	check_equal(mmio_read32(memory, offset + 4), 0xccddeeff, "%s gives 4 bytes", name);
	check_equal(mmio_read16(memory, offset + 2), 0xaabb, "%s gives 2 bytes", name);
	check_equal(mmio_read8(memory, offset + 1), 0x99, "%s gives 1 byte", name);
}

/* A different word in each page: none is another's alias. */
static void test_pages(mmio_t memory, uint64_t start, uint64_t end, uint64_t step,
		       const char *name)
{
	unsigned wrong = 0;

	for (uint64_t offset = start; offset < end; offset += step)
		mmio_write64(memory, offset, 0xfeed000000000000 | offset);
	mmio_write64(memory, end - 8, 0xe4d);
	for (uint64_t offset = start; offset < end; offset += step)
		wrong += mmio_read64(memory, offset) != (0xfeed000000000000 | offset);
	check_equal(wrong, 0, "%s: each page has its own word", name);
	check_equal(mmio_read64(memory, end - 8), 0xe4d, "%s: so has the end", name);
}

void test_mapped(const struct testdev *dev)
{
	uint32_t traps;

	check_section("mapped areas");
	check(dev->bar2.kind == PCI_BAR_MEM64 && dev->bar2.prefetchable,
	      "BAR 2 is 64-bit memory, prefetchable");
	check_equal(dev->bar2.size, BAR2_SIZE, "BAR 2 has 2 MiB");

	traps = mmio_read32(dev->registers, REG_TRAPS);
	test_widths(dev->registers, MAPPED_START, "BAR 0's mapped area");
	test_pages(dev->registers, MAPPED_START, MAPPED_END, 0x1000, "BAR 0's mapped area");
	check_equal(mmio_read32(dev->registers, REG_TRAPS), traps + 1, "none of that trapped");
	test_widths(dev->buffer, 0, "BAR 2");
	test_pages(dev->buffer, 0, BAR2_SIZE, 0x10000, "BAR 2");
}
