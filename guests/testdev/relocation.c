// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Decoding switched off and on, and BARs moved, as an operating system may do at any time. */
#include "testdev.h"

#include "check.h"
#include "cpu.h"
#include "paging.h"
#include "registers.h"

#define DECODE	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)

/* A message address in the MSI-X table need not keep its lowest two bits. */
#define MARK(i)	(0x10c0de00 + 4 * (i))

/* A register of the BAR that holds a value over the move. */
static uint32_t read_mark(const struct pci_bar *bar, unsigned offset)
{
	if (bar->kind == PCI_BAR_IO)
		return inl(bar->address + offset);
	return mmio_read32(pci_bar_memory(bar), offset);
}

static void write_mark(const struct pci_bar *bar, unsigned offset, uint32_t value)
{
	if (bar->kind == PCI_BAR_IO)
		outl(bar->address + offset, value);
	else
		mmio_write32(pci_bar_memory(bar), offset, value);
}

static void move(const struct pci_function *f, struct pci_bar *bar, uint64_t address)
{
	pci_command(f, 0, DECODE);
	pci_bar_move(f, bar, address);
	pci_command(f, DECODE, 0);
	if (bar->kind != PCI_BAR_IO)
		map_mmio(bar->address, bar->size);
}

/* There and back. `marks` are offsets of writable words, in each kind of area the BAR has. */
static void test_move(const struct pci_function *f, const struct pci_bar *bar, uint64_t address,
		      const char *name, const unsigned *marks, unsigned count)
{
	const struct pci_bar old = *bar;
	struct pci_bar new = *bar;

	for (unsigned i = 0; i < count; i++)
		write_mark(&old, marks[i], MARK(i));
	move(f, &new, address);
	for (unsigned i = 0; i < count; i++)
		check_equal(read_mark(&new, marks[i]), MARK(i),
			    "%s, moved: offset 0x%x is at the new address", name, marks[i]);
	for (unsigned i = 0; i < count; i++)
		check_equal(read_mark(&old, marks[i]), UINT32_MAX,
			    "%s, moved: offset 0x%x is not at the old one", name, marks[i]);
	write_mark(&old, marks[0], 0xbad);
	write_mark(&new, marks[0], 0x600d);
	move(f, &new, old.address);
	check_equal(read_mark(&old, marks[0]), 0x600d, "%s, moved back: it has what was written",
		    name);
}

/* The ROM can't be written, so its own bytes are the marks; and it has a switch of its own. */
static void test_move_rom(const struct pci_function *f)
{
	const struct pci_bar old = pci_bar_enable(f, PCI_ROM_BAR);
	struct pci_bar new = old;

	pci_command(f, 0, DECODE);
	pci_bar_move(f, &new, pci_bar_unused_address(&old));
	new = pci_bar_enable(f, PCI_ROM_BAR);
	check_equal(mmio_read32(pci_bar_memory(&new), 0), ROM_FIRST,
		    "ROM, moved: its start is at the new address");
	check_equal(mmio_read32(pci_bar_memory(&new), ROM_SIZE - 4), ROM_LAST,
		    "ROM, moved: its end is at the new address");
	check_equal(mmio_read32(pci_bar_memory(&old), 0), UINT32_MAX,
		    "ROM, moved: it is not at the old one");
	pci_command(f, 0, PCI_COMMAND_MEMORY);
	check_equal(mmio_read32(pci_bar_memory(&new), 0), UINT32_MAX,
		    "memory decoding off: the ROM reads all-ones");
	pci_bar_move(f, &new, old.address);
	pci_command(f, DECODE, 0);
	check_equal(mmio_read32(pci_bar_memory(&old), 0), UINT32_MAX,
		    "ROM, moved back: it reads all-ones until it is enabled");
	pci_bar_enable(f, PCI_ROM_BAR);
	check_equal(mmio_read32(pci_bar_memory(&old), 0), ROM_FIRST,
		    "ROM, moved back: it is where it was");
	pci_bar_move(f, &new, old.address);	/* off again */
}

static void test_decode(const struct testdev *dev)
{
	const struct pci_function *f = dev->function;

	pci_command(f, 0, PCI_COMMAND_MEMORY);
	check_equal(mmio_read32(dev->registers, REG_ID), UINT32_MAX,
		    "memory decoding off: registers read all-ones");
	check_equal(mmio_read32(dev->registers, MAPPED_START), UINT32_MAX,
		    "memory decoding off: the mapped area reads all-ones");
	check_equal(mmio_read32(dev->buffer, 0), UINT32_MAX,
		    "memory decoding off: BAR 2 reads all-ones");
	check_equal(mmio_read32(dev->small, SMALL_ID), UINT32_MAX,
		    "memory decoding off: BAR 4 reads all-ones");
	check_equal(inl(dev->ports + IO_ID), ID_VALUE, "memory decoding off: ports still work");
	pci_command(f, PCI_COMMAND_MEMORY, PCI_COMMAND_IO);
	check_equal(inl(dev->ports + IO_ID), UINT32_MAX, "I/O decoding off: ports read all-ones");
	check_equal(mmio_read32(dev->registers, REG_ID), ID_VALUE,
		    "I/O decoding off: registers still work");
	pci_command(f, DECODE, 0);
	check_equal(inl(dev->ports + IO_ID), ID_VALUE, "decoding on: ports work");
}

/*
 * Not every operating system switches decoding off to size a BAR, so for a moment all of it is at
 * the end of the address space.
 */
static void test_sizing_while_decoding(const struct testdev *dev)
{
	const struct pci_function *f = dev->function;
	const uint32_t before = pci_read32(f, dev->bar0.offset);

	pci_write32(f, dev->bar0.offset, UINT32_MAX);
	check_equal(pci_read32(f, dev->bar0.offset) & ~0xfu, -BAR0_SIZE,
		    "sized with decoding on: BAR 0 has 64 KiB");
	pci_write32(f, dev->bar0.offset, before);
	check_equal(mmio_read32(dev->registers, REG_ID), ID_VALUE,
		    "sized with decoding on: registers still work");
}

/* Both are smaller than a page, and nothing keeps an operating system from having them share one. */
static void test_one_page_for_two(const struct testdev *dev)
{
	const struct pci_function *f = dev->function;
	const struct pci_bar page = {.kind = PCI_BAR_MEM32, .size = 0x1000};
	const uint64_t address = pci_bar_unused_address(&page);
	struct pci_bar ram = dev->bar5, registers = dev->bar4;

	mmio_write32(dev->small_ram, 0, 0x600d);
	move(f, &ram, address);
	check_equal(mmio_read32(pci_bar_memory(&ram), 0), 0x600d, "BAR 5 at the start of a page");
	move(f, &registers, address + BAR4_SIZE);
	check_equal(mmio_read32(pci_bar_memory(&registers), SMALL_ID), ID_VALUE,
		    "BAR 4 beside it: its ID is there");
	check_equal(mmio_read32(pci_bar_memory(&ram), 0), 0x600d,
		    "BAR 4 beside it: BAR 5 is still there");
	mmio_write32(pci_bar_memory(&registers), SMALL_SCRATCH, 0x4444);
	mmio_write32(pci_bar_memory(&ram), SMALL_SCRATCH, 0x5555);
	check_equal(mmio_read32(pci_bar_memory(&registers), SMALL_SCRATCH), 0x4444,
		    "what is written to one is not in the other");
	move(f, &registers, dev->bar4.address);
	check_equal(mmio_read32(pci_bar_memory(&ram), SMALL_SCRATCH), 0x5555,
		    "BAR 4 gone: BAR 5 has what was written");
	check(mmio_read32((mmio_t)address, BAR4_SIZE + SMALL_ID) != ID_VALUE,
	      "BAR 4 gone: its ID is not there any more");
	move(f, &ram, dev->bar5.address);
}

void test_relocation(const struct testdev *dev)
{
	const struct pci_function *f = dev->function;
	const struct pci_bar *bar2 = &dev->bar2;
	static const unsigned marks0[] = {REG_SCRATCH, MSIX_TABLE, MAPPED_START, MAPPED_END - 4};
	static const unsigned marks1[] = {IO_SCRATCH};
	static const unsigned marks2[] = {0, BAR2_SIZE - 4};
	static const unsigned marks4[] = {SMALL_SCRATCH};
	static const unsigned marks5[] = {0, BAR5_SIZE - 4};

	check_section("decoding and relocation");
	test_decode(dev);
	test_sizing_while_decoding(dev);
	test_move(f, &dev->bar0, pci_bar_unused_address(&dev->bar0), "BAR 0", marks0, 4);
	test_move(f, &dev->bar1, pci_bar_unused_address(&dev->bar1), "BAR 1", marks1, 1);
	test_move(f, bar2, pci_bar_unused_address(bar2), "BAR 2", marks2, 2);
	/* Only the VMM knows how large its window above 4 GiB is; next door should be in it. */
	if (bar2->address >> 32)
		test_move(f, bar2, bar2->address + 4 * BAR2_SIZE, "BAR 2, above 4 GiB", marks2, 2);
	test_move(f, &dev->bar4, pci_bar_unused_address(&dev->bar4), "BAR 4", marks4, 1);
	test_move(f, &dev->bar5, pci_bar_unused_address(&dev->bar5), "BAR 5", marks5, 2);
	test_one_page_for_two(dev);
	test_move_rom(f);
}
