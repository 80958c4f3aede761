// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* BAR 0's registers and their access rules. */
#include "testdev.h"

#include "check.h"
#include "registers.h"

static void test_scratch(mmio_t registers)
{
	mmio_write32(registers, REG_SCRATCH, 0x11223344);
	check_equal(mmio_read32(registers, REG_SCRATCH), 0x11223344, "SCRATCH holds 4 bytes");
	mmio_write16(registers, REG_SCRATCH + 2, 0xaabb);
	mmio_write8(registers, REG_SCRATCH + 1, 0xcc);
	check_equal(mmio_read32(registers, REG_SCRATCH), 0xaabbcc44,
		    "SCRATCH takes 1 and 2 bytes");
	check_equal(mmio_read16(registers, REG_SCRATCH + 2), 0xaabb, "SCRATCH gives 2 bytes");
	check_equal(mmio_read8(registers, REG_SCRATCH + 3), 0xaa, "SCRATCH gives 1 byte");
}

static void test_widths(mmio_t registers)
{
	check_equal(mmio_read8(registers, REG_ID), 0xff, "ID reads all-ones in 1 byte");
	check_equal(mmio_read16(registers, REG_ID), 0xffff, "ID reads all-ones in 2 bytes");
	mmio_write32(registers, REG_DMA_SEED, 0x12345678);
	mmio_write16(registers, REG_DMA_SEED, 0);
	mmio_write8(registers, REG_DMA_SEED, 0);
	check_equal(mmio_read32(registers, REG_DMA_SEED), 0x12345678,
		    "DMA_SEED drops writes of 1 and 2 bytes");
	mmio_write64(registers, REG_DMA_ADDRESS, 0x123456789abcdef0);
	check_equal(mmio_read64(registers, REG_DMA_ADDRESS), 0x123456789abcdef0,
		    "DMA_ADDRESS holds 8 bytes");
	mmio_write64(registers, REG_DMA_ADDRESS, 0);
}

static void test_read_only(mmio_t registers)
{
	mmio_write32(registers, REG_ID, 0);
	check_equal(mmio_read32(registers, REG_ID), ID_VALUE, "ID is read-only");
	mmio_write32(registers, REG_VERSION, 0);
	check_equal(mmio_read32(registers, REG_VERSION), VERSION_VALUE, "VERSION is read-only");
}

void test_registers(const struct testdev *dev)
{
	mmio_t registers = dev->registers;
	uint32_t traps;

	check_section("registers");
	check(dev->bar0.kind == PCI_BAR_MEM32 && !dev->bar0.prefetchable,
	      "BAR 0 is 32-bit memory, not prefetchable");
	check_equal(dev->bar0.size, BAR0_SIZE, "BAR 0 has 64 KiB");
	check_equal(mmio_read32(registers, REG_ID), ID_VALUE, "ID is 0x%08x", ID_VALUE);
	check_equal(mmio_read32(registers, REG_VERSION), VERSION_VALUE, "VERSION is 1");
	test_scratch(registers);
	test_widths(registers);
	test_read_only(registers);
	check_equal(mmio_read32(registers, ZEROES_START), 0, "the last part of BAR 0 reads 0");
	mmio_write32(registers, BAR0_SIZE - 4, 1);
	check_equal(mmio_read32(registers, BAR0_SIZE - 4), 0, "and drops writes");

	traps = mmio_read32(registers, REG_TRAPS);
	mmio_write32(registers, REG_SCRATCH, 0);
	mmio_read32(registers, REG_SCRATCH);
	mmio_read32(registers, ZEROES_START);
	check_equal(mmio_read32(registers, REG_TRAPS), traps + 4,
		    "TRAPS counts each trapped access");
}
