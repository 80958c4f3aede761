// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "testdev.h"

#include "check.h"
#include "registers.h"

#define TEXT_END (ROM_TEXT_OFFSET + sizeof(ROM_TEXT) - 1)

static bool counts_up(mmio_t rom, unsigned start, unsigned end)
{
	for (unsigned i = start; i < end; i++)
		if (mmio_read8(rom, i) != (i & 0xff))
			return false;
	return true;
}

static bool has_text(mmio_t rom)
{
	for (unsigned i = ROM_TEXT_OFFSET; i < TEXT_END; i++)
		if (mmio_read8(rom, i) != ROM_TEXT[i - ROM_TEXT_OFFSET])
			return false;
	return true;
}

void test_rom(const struct testdev *dev)
{
	const struct pci_bar bar = pci_bar_enable(dev->function, PCI_ROM_BAR);
	mmio_t rom = pci_bar_memory(&bar);

	check_section("expansion ROM");
	check_equal(bar.size, ROM_SIZE, "it has 4 KiB");
	check_equal(mmio_read16(rom, 0), 0xaa55, "it begins with 55 aa");
	check_equal(mmio_read8(rom, 2), ROM_SIZE / 512, "it says that it has 8 x 512 bytes");
	check(counts_up(rom, 3, ROM_TEXT_OFFSET), "its bytes count up");
	check(has_text(rom), "it holds its text");
	check(counts_up(rom, TEXT_END, TEXT_END + 16) && counts_up(rom, ROM_SIZE - 16, ROM_SIZE),
	      "its bytes count up to the end");
	check_equal(mmio_read64(rom, ROM_SIZE - 8), 0xfffefdfcfbfaf9f8, "it gives 8 bytes");
	mmio_write32(rom, 0, 0);
	check_equal(mmio_read16(rom, 0), 0xaa55, "writes to it are dropped");
	pci_write32(dev->function, bar.offset, bar.address);
	check_equal(mmio_read32(rom, 0), UINT32_MAX, "disabled, it reads all-ones");
}
