// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* The I/O BAR, which always traps, and BARs smaller than a page. */
#include "testdev.h"

#include "check.h"
#include "cpu.h"
#include "registers.h"

static void test_ports(const struct testdev *dev)
{
	const uint16_t scratch = dev->ports + IO_SCRATCH;

	check(dev->bar1.kind == PCI_BAR_IO, "BAR 1 is I/O");
	check_equal(dev->bar1.size, BAR1_SIZE, "BAR 1 has 256 ports");
	check_equal(inl(dev->ports + IO_ID), ID_VALUE, "its ID is 0x%08x", ID_VALUE);
	outl(scratch, 0x11223344);
	outw(scratch + 2, 0xaabb);
	outb(scratch + 1, 0xcc);
	check_equal(inl(scratch), 0xaabbcc44, "its scratch takes 1, 2 and 4 bytes");
	check_equal(inw(scratch + 2), 0xaabb, "its scratch gives 2 bytes");
	check_equal(inb(scratch + 1), 0xcc, "its scratch gives 1 byte");
	outl(scratch + IO_SCRATCH_SIZE - 4, 0x99887766);
	check_equal(inl(scratch + IO_SCRATCH_SIZE - 4), 0x99887766, "its scratch has 16 bytes");
	check_equal(inl(dev->ports + BAR1_SIZE - 4), 0, "the rest of it reads 0");
}

static void test_small(const struct testdev *dev)
{
	mmio_t small = dev->small;

	check(dev->bar4.kind == PCI_BAR_MEM32 && !dev->bar4.prefetchable,
	      "BAR 4 is 32-bit memory, not prefetchable");
	check_equal(dev->bar4.size, BAR4_SIZE, "BAR 4 has 256 bytes");
	check_equal(mmio_read32(small, SMALL_ID), ID_VALUE, "its ID is 0x%08x", ID_VALUE);
	mmio_write32(small, SMALL_SCRATCH, 0x11223344);
	mmio_write16(small, SMALL_SCRATCH + 2, 0xaabb);
	mmio_write8(small, SMALL_SCRATCH + 1, 0xcc);
	check_equal(mmio_read32(small, SMALL_SCRATCH), 0xaabbcc44,
		    "its scratch takes 1, 2 and 4 bytes");
	mmio_write64(small, SMALL_SCRATCH + SMALL_SCRATCH_SIZE - 8, 0x0102030405060708);
	check_equal(mmio_read64(small, SMALL_SCRATCH + SMALL_SCRATCH_SIZE - 8),
		    0x0102030405060708, "its scratch has 16 bytes");
	check_equal(mmio_read32(small, BAR4_SIZE - 4), 0, "the rest of it reads 0");
}

static void test_small_ram(const struct testdev *dev)
{
	mmio_t ram = dev->small_ram;

	check(dev->bar5.kind == PCI_BAR_MEM32 && dev->bar5.prefetchable,
	      "BAR 5 is 32-bit memory, prefetchable");
	check_equal(dev->bar5.size, BAR5_SIZE, "BAR 5 has 128 bytes");
	mmio_write64(ram, 0, 0x8877665544332211);
	mmio_write32(ram, 4, 0xccddeeff);
	mmio_write16(ram, 2, 0xaabb);
	mmio_write8(ram, 1, 0x99);
	check_equal(mmio_read64(ram, 0), 0xccddeeffaabb9911, "it takes 1, 2, 4 and 8 bytes");
	mmio_write32(ram, BAR5_SIZE - 4, 0x0badcafe);
	check_equal(mmio_read32(ram, BAR5_SIZE - 4), 0x0badcafe, "it holds bytes up to its end");
}

void test_small_bars(const struct testdev *dev)
{
	check_section("small BARs");
	test_ports(dev);
	test_small(dev);
	test_small_ram(dev);
}
