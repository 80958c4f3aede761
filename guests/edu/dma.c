// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * QEMU 7.2, for one, ends the whole VM for a transfer that touches the last byte of the device's
 * buffer or leaves the buffer, so none here does.
 */
#include "edu.h"

#include "check.h"
#include "registers.h"
#include "string.h"
#include "time.h"

#define MOST		(EDU_DMA_BUFFER_SIZE - 1)
#define UNTOUCHED	0xa5
#define OUT_OF_MASK	(1ull << DMA_ADDRESS_BITS)

static uint8_t source[EDU_DMA_BUFFER_SIZE] __attribute__((aligned(4096)));
static uint8_t destination[EDU_DMA_BUFFER_SIZE] __attribute__((aligned(4096)));

void dma_start(const struct edu *edu, bool to_ram, uint64_t ram, uint32_t offset, uint32_t count,
	       bool interrupt)
{
	const uint64_t buffer = EDU_DMA_BUFFER + offset;

	mmio_write64(edu->registers, EDU_DMA_SOURCE, to_ram ? buffer : ram);
	mmio_write64(edu->registers, EDU_DMA_DESTINATION, to_ram ? ram : buffer);
	mmio_write64(edu->registers, EDU_DMA_COUNT, count);
	mmio_write32(edu->registers, EDU_DMA_COMMAND,
		     DMA_RUN | (to_ram ? DMA_TO_RAM : 0) | (interrupt ? DMA_IRQ : 0));
}

/* A transfer without interrupt; false if it does not end. */
static bool transfer(const struct edu *edu, bool to_ram, uint64_t ram, uint32_t offset,
		     uint32_t count)
{
	dma_start(edu, to_ram, ram, offset, count, false);
	return wait_event(!(mmio_read32(edu->registers, EDU_DMA_COMMAND) & DMA_RUN), LIMIT_US);
}

static void fill_source(uint32_t seed)
{
	uint32_t *words = (uint32_t *)source;

	for (unsigned i = 0; i < sizeof(source) / sizeof(*words); i++)
		words[i] = seed + i * 0x01010107;
	memset(destination, UNTOUCHED, sizeof(destination));
}

/* Has `destination` the bytes source[from..], count of them, and nothing else? */
static bool arrived(uint32_t from, uint32_t count)
{
	if (memcmp(destination, source + from, count))
		return false;
	for (uint32_t i = count; i < count + 16 && i < sizeof(destination); i++)
		if (destination[i] != UNTOUCHED)
			return false;
	return true;
}

void test_dma(const struct edu *edu)
{
	const uint64_t from = (uint64_t)source, to = (uint64_t)destination;

	check_section("DMA by polling");
	fill_source(0x13579bdf);
	check(transfer(edu, false, from, 0, MOST), "%u bytes go to the device", MOST);
	check(transfer(edu, true, to, 0, MOST), "%u bytes come back", MOST);
	check(arrived(0, MOST), "they are the same");

	memset(destination, UNTOUCHED, sizeof(destination));
	check(transfer(edu, true, to, 0x123, 100), "100 bytes come from the buffer's middle");
	check(arrived(0x123, 100), "they are the right ones");

	check_section("DMA mask of 28 bits");
	fill_source(0x2468ace0);
	check(transfer(edu, false, from + OUT_OF_MASK, 0, 64) && transfer(edu, true, to, 0, 64) &&
	      arrived(0, 64), "a source address loses its higher bits");
	memset(destination, UNTOUCHED, sizeof(destination));
	check(transfer(edu, true, to + 5 * OUT_OF_MASK, 0, 32) && arrived(0, 32),
	      "a destination address loses its higher bits");
	check_equal(mmio_read32(edu->registers, EDU_IRQ_STATUS), 0, "no interrupt is raised");
}
