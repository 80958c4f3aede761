// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "testdev.h"

#include <stddef.h>

#include "check.h"
#include "interrupt.h"
#include "lapic.h"
#include "msix.h"
#include "registers.h"
#include "string.h"
#include "time.h"

#define WORDS		256
#define NO_MEMORY	(1ull << 50)	/* an address no guest has RAM at */

static uint32_t memory[WORDS] __attribute__((aligned(4096)));

static void command(const struct testdev *dev, uint32_t what, uint64_t address, uint32_t length)
{
	mmio_write64(dev->registers, REG_DMA_ADDRESS, address);
	mmio_write32(dev->registers, REG_DMA_LENGTH, length);
	mmio_write32(dev->registers, REG_DMA_COMMAND, what);
}

/* Do a command; the status it ends with. */
static uint32_t transfer(const struct testdev *dev, uint32_t what, uint64_t address,
			 uint32_t length)
{
	command(dev, what, address, length);
	wait_event(mmio_read32(dev->registers, REG_DMA_STATUS) != DMA_BUSY, LIMIT_US);
	return mmio_read32(dev->registers, REG_DMA_STATUS);
}

static void fill(uint32_t seed)
{
	for (unsigned i = 0; i < WORDS; i++)
		memory[i] = seed + i * 0x9e3779b1;
}

static uint32_t sum(void)
{
	uint32_t total = 0;

	for (unsigned i = 0; i < WORDS; i++)
		total += memory[i];
	return total;
}

static void check_checksum(const struct testdev *dev)
{
	check_equal(mmio_read32(dev->registers, REG_DMA_CHECKSUM), sum(), "the checksum is right");
}

static void test_commands(const struct testdev *dev)
{
	const uint64_t address = (uint64_t)memory;
	const uint32_t offset = 0x1f0000;
	unsigned wrong = 0;

	fill(0x11111111);
	check_equal(transfer(dev, DMA_CHECKSUM, address, sizeof(memory)), DMA_DONE, "sum up");
	check_checksum(dev);

	mmio_write32(dev->registers, REG_DMA_SEED, 0xfffffff0);
	check_equal(transfer(dev, DMA_FILL, address, sizeof(memory)), DMA_DONE, "fill");
	for (unsigned i = 0; i < WORDS; i++)
		wrong += memory[i] != 0xfffffff0 + i;
	check_equal(wrong, 0, "memory has the words");
	check_checksum(dev);

	fill(0x22222222);
	mmio_write32(dev->registers, REG_DMA_OFFSET, offset);
	check_equal(transfer(dev, DMA_FROM_GUEST, address, sizeof(memory)), DMA_DONE,
		    "memory to BAR 2");
	check_checksum(dev);
	for (unsigned i = 0; i < WORDS; i++)
		wrong += mmio_read32(dev->buffer, offset + 4 * i) != memory[i];
	check_equal(wrong, 0, "BAR 2 has the words");

	for (unsigned i = 0; i < WORDS; i++)
		mmio_write32(dev->buffer, offset + 4 * i, ~memory[i]);
	check_equal(transfer(dev, DMA_TO_GUEST, address, sizeof(memory)), DMA_DONE,
		    "BAR 2 to memory");
	check_checksum(dev);
	for (unsigned i = 0; i < WORDS; i++)
		wrong += mmio_read32(dev->buffer, offset + 4 * i) != memory[i];
	check_equal(wrong, 0, "memory has the words");
}

static void test_errors(const struct testdev *dev)
{
	const uint64_t address = (uint64_t)memory;

	check_equal(transfer(dev, DMA_CHECKSUM, address, 6), DMA_ERROR,
		    "a length that is no multiple of 4 is refused");
	check_equal(transfer(dev, DMA_CHECKSUM, address, DMA_MAX_LENGTH + 4), DMA_ERROR,
		    "a length over 1 MiB is refused");
	check_equal(transfer(dev, DMA_CHECKSUM, NO_MEMORY, 64), DMA_ERROR,
		    "reading where there is no memory fails");
	check_equal(transfer(dev, DMA_FILL, NO_MEMORY, 64), DMA_ERROR,
		    "writing where there is no memory fails");
	mmio_write32(dev->registers, REG_DMA_OFFSET, BAR2_SIZE - 4);
	check_equal(transfer(dev, DMA_FROM_GUEST, address, 8), DMA_ERROR,
		    "running over the end of BAR 2 is refused");
	check_equal(transfer(dev, 99, address, 8), DMA_ERROR, "an unknown command is refused");
	check_equal(transfer(dev, DMA_CHECKSUM, address, sizeof(memory)), DMA_DONE,
		    "after all that it works");
	check_checksum(dev);
}

static void test_signal(const struct testdev *dev)
{
	const uint8_t vector = vectors_allocate(1);
	struct msix msix;

	msix_init(&msix, dev->function);
	msix_map(&msix);
	interrupt_handle(vector, NULL);
	msix_set_entry(&msix, 9, vector, lapic_id());
	msix_enable(&msix);
	msix_set_mask(&msix, 9, false);
	mmio_write32(dev->registers, REG_DMA_SEED, 1000);
	command(dev, DMA_FILL | DMA_SIGNAL(9), (uint64_t)memory, sizeof(memory));
	check(wait_event(interrupt_count(vector) >= 1, LIMIT_US), "its end is signalled");
	check_equal(mmio_read32(dev->registers, REG_DMA_STATUS), DMA_DONE, "then it is done");
	check_equal(memory[WORDS - 1], 1000 + WORDS - 1, "then memory has the words");
	sleep_us(QUIET_US);
	check_equal(interrupt_count(vector), 1, "it is signalled once");
	msix_set_mask(&msix, 9, true);
	msix_disable(&msix);
}

void test_dma(const struct testdev *dev)
{
	check_section("DMA");
	test_commands(dev);
	test_errors(dev);
	test_signal(dev);
}
