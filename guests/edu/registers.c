// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "edu.h"

#include "check.h"
#include "registers.h"

static void test_liveness(mmio_t registers)
{
	static const uint32_t patterns[] = {0, 0xffffffff, 0x12345678, 0x80000001};

	for (unsigned i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		mmio_write32(registers, EDU_LIVENESS, patterns[i]);
		check_equal(mmio_read32(registers, EDU_LIVENESS), ~patterns[i],
			    "liveness inverts 0x%08x", patterns[i]);
	}
}

/*
 * What a read of the wrong width gives is left open, so only that it isn't the register.
 * Read as bytes the identification would begin with 0xed.
 */
static void test_wrong_widths(mmio_t registers)
{
	const uint32_t alive = 0x5a5a5a5a;

	check(mmio_read8(registers, EDU_ID) != (EDU_ID_VALUE & 0xff),
	      "1-byte reads below 0x80 do not reach the register");
	check(mmio_read16(registers, EDU_ID) != (EDU_ID_VALUE & 0xffff),
	      "2-byte reads below 0x80 do not reach the register");
	check((uint32_t)mmio_read64(registers, EDU_ID) != EDU_ID_VALUE,
	      "8-byte reads below 0x80 do not reach the register");

	mmio_write32(registers, EDU_LIVENESS, alive);
	mmio_write8(registers, EDU_LIVENESS, 0);
	check_equal(mmio_read32(registers, EDU_LIVENESS), ~alive,
		    "1-byte writes below 0x80 are dropped");
	mmio_write16(registers, EDU_LIVENESS, 0);
	check_equal(mmio_read32(registers, EDU_LIVENESS), ~alive,
		    "2-byte writes below 0x80 are dropped");
	/* Aligned, or a VMM may see it as two of 4 bytes. */
	mmio_write64(registers, EDU_STATUS, STATUS_FACTORIAL_IRQ);
	check_equal(mmio_read32(registers, EDU_STATUS), 0, "8-byte writes below 0x80 are dropped");
}

static void test_dma_registers(mmio_t registers)
{
	const uint64_t wide = 0x123456789abcdef0;

	mmio_write64(registers, EDU_DMA_SOURCE, wide);
	check_equal(mmio_read64(registers, EDU_DMA_SOURCE), wide,
		    "the DMA source register holds 8 bytes");
	mmio_write64(registers, EDU_DMA_DESTINATION, wide + 1);
	check_equal(mmio_read64(registers, EDU_DMA_DESTINATION), wide + 1,
		    "the DMA destination register holds 8 bytes");
	mmio_write32(registers, EDU_DMA_COUNT, 100);
	check_equal(mmio_read32(registers, EDU_DMA_COUNT), 100,
		    "the DMA count register takes 4 bytes");
	mmio_write32(registers, EDU_DMA_COMMAND, DMA_TO_RAM | DMA_IRQ);
	check_equal(mmio_read32(registers, EDU_DMA_COMMAND) & DMA_RUN, 0,
		    "no transfer without the start bit");
}

void test_registers(const struct edu *edu)
{
	mmio_t registers = edu->registers;

	check_section("registers");
	test_liveness(registers);
	mmio_write32(registers, EDU_ID, 0);
	check_equal(mmio_read32(registers, EDU_ID), EDU_ID_VALUE, "identification is read-only");
	check_equal(mmio_read32(registers, 0x0c), UINT32_MAX, "offset 0x0c reads all-ones");
	check_equal(mmio_read32(registers, EDU_IRQ_RAISE), UINT32_MAX,
		    "the interrupt raise register reads all-ones");
	check_equal(mmio_read32(registers, EDU_IRQ_ACK), UINT32_MAX,
		    "the interrupt acknowledge register reads all-ones");
	check_equal(mmio_read32(registers, EDU_DMA_BUFFER), UINT32_MAX,
		    "the DMA buffer is not visible in the BAR");
	check_equal(mmio_read32(registers, EDU_BAR_SIZE - 4), UINT32_MAX,
		    "the end of the BAR reads all-ones");
	test_wrong_widths(registers);
	test_dma_registers(registers);
}
