// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "pci_bar.h"

#include "paging.h"
#include "panic.h"
#include "pci_bridge.h"

#define BAR_IO			0x1
#define BAR_TYPE_MASK		0x6
#define BAR_TYPE_64		0x4
#define BAR_PREFETCH		0x8
#define BAR_IO_MASK		(~0x3u)
#define BAR_MEMORY_MASK		(~0xfu)
#define ROM_ENABLE		0x1
#define ROM_MASK		(~0x7ffu)

/*
 * Unassigned and moved BARs go here, from the end downwards: a VMM fills such windows from
 * their start, and SeaBIOS fills its own from higher addresses.
 */
#define MEMORY_WINDOW_START	0xc0000000ull
#define MEMORY_WINDOW_END	0xe0000000ull
#define IO_WINDOW_START		0xc000ull
#define IO_WINDOW_END		0x10000ull

static unsigned bar_offset(const struct pci_function *f, unsigned index)
{
	if (index == PCI_ROM_BAR)
		return f->header_type == PCI_HEADER_TYPE_BRIDGE ? PCI_ROM_ADDRESS1
								: PCI_ROM_ADDRESS;
	return PCI_BASE_ADDRESS_0 + 4 * index;
}

static bool is_memory64(uint32_t value)
{
	return !(value & BAR_IO) && (value & BAR_TYPE_MASK) == BAR_TYPE_64;
}

/* Is BAR `index` the upper half of the one before it? */
static bool is_upper_half(const struct pci_function *f, unsigned index)
{
	bool upper = false;

	for (unsigned i = 0; i < index; i++)
		upper = !upper && is_memory64(pci_read32(f, bar_offset(f, i)));
	return upper;
}

/* Write ones, see which stick, put the old value back. */
static uint32_t probe_dword(const struct pci_function *f, unsigned offset, uint32_t ones)
{
	const uint32_t before = pci_read32(f, offset);
	uint32_t stuck;

	pci_write32(f, offset, ones);
	stuck = pci_read32(f, offset);
	pci_write32(f, offset, before);
	return stuck;
}

static void probe_registers(const struct pci_function *f, unsigned index, struct pci_bar *bar)
{
	const uint32_t value = pci_read32(f, bar->offset);
	uint32_t mask, stuck;

	if (index == PCI_ROM_BAR) {
		bar->kind = PCI_BAR_ROM;
		mask = ROM_MASK;
	} else if (value & BAR_IO) {
		bar->kind = PCI_BAR_IO;
		mask = BAR_IO_MASK;
	} else {
		bar->kind = is_memory64(value) ? PCI_BAR_MEM64 : PCI_BAR_MEM32;
		bar->prefetchable = value & BAR_PREFETCH;
		mask = BAR_MEMORY_MASK;
	}
	/* Ones in the address bits only, which does not switch a ROM on. */
	stuck = probe_dword(f, bar->offset, mask) & mask;
	bar->address = value & mask;
	if (bar->kind == PCI_BAR_MEM64) {
		const uint64_t stuck_high = probe_dword(f, bar->offset + 4, UINT32_MAX);

		bar->address |= (uint64_t)pci_read32(f, bar->offset + 4) << 32;
		bar->size = -(stuck_high << 32 | stuck);
	} else {
		/* I/O BARs may leave their upper 16 bits at zero. */
		if (bar->kind == PCI_BAR_IO && stuck)
			stuck |= 0xffff0000;
		bar->size = -stuck;
	}
	if (!bar->size)
		bar->kind = PCI_BAR_NONE;
}

struct pci_bar pci_bar_probe(const struct pci_function *f, unsigned index)
{
	const bool bridge = f->header_type == PCI_HEADER_TYPE_BRIDGE;
	struct pci_bar bar = {.kind = PCI_BAR_NONE, .offset = bar_offset(f, index)};
	uint16_t command;

	if (index != PCI_ROM_BAR && (index >= (bridge ? 2 : 6) || is_upper_half(f, index)))
		return bar;
	command = pci_command(f, 0, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	probe_registers(f, index, &bar);
	pci_write16(f, PCI_COMMAND, command);
	return bar;
}

/* Below 4 GiB a bridge's window for what is not prefetchable takes everything. */
static enum pci_window_kind window_kind(const struct pci_bar *bar)
{
	if (bar->kind == PCI_BAR_IO)
		return PCI_WINDOW_IO;
	return bar->address >> 32 ? PCI_WINDOW_PREFETCHABLE : PCI_WINDOW_MEMORY;
}

void pci_bar_move(const struct pci_function *f, struct pci_bar *bar, uint64_t address)
{
	bar->address = address;
	pci_bridge_widen(f, window_kind(bar), address, bar->size);
	pci_write32(f, bar->offset, address);
	if (bar->kind == PCI_BAR_MEM64)
		pci_write32(f, bar->offset + 4, address >> 32);
}

static bool overlaps_any(bool io, uint64_t address, uint64_t size)
{
	for (unsigned i = 0; i < pci_function_count; i++) {
		for (unsigned index = 0; index < PCI_BARS; index++) {
			const struct pci_bar bar = pci_bar_probe(&pci_functions[i], index);

			if (bar.kind != PCI_BAR_NONE && (bar.kind == PCI_BAR_IO) == io &&
			    bar.address < address + size && address < bar.address + bar.size)
				return true;
		}
	}
	return false;
}

uint64_t pci_bar_unused_address(const struct pci_bar *bar)
{
	const bool io = bar->kind == PCI_BAR_IO;
	const uint64_t start = io ? IO_WINDOW_START : MEMORY_WINDOW_START;
	uint64_t address = io ? IO_WINDOW_END : MEMORY_WINDOW_END;

	while (address >= start + bar->size) {
		address = (address - bar->size) & -bar->size;
		if (!overlaps_any(io, address, bar->size))
			return address;
	}
	panic("no room for a BAR of 0x%lx bytes", bar->size);
}

struct pci_bar pci_bar_enable(const struct pci_function *f, unsigned index)
{
	struct pci_bar bar = pci_bar_probe(f, index);

	if (bar.kind == PCI_BAR_NONE)
		panic("no BAR %u", index);
	if (!bar.address) {
		pci_command(f, 0, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
		pci_bar_move(f, &bar, pci_bar_unused_address(&bar));
	}
	if (bar.kind == PCI_BAR_ROM)
		pci_write32(f, bar.offset, bar.address | ROM_ENABLE);
	if (bar.kind == PCI_BAR_IO) {
		pci_command(f, PCI_COMMAND_IO, 0);
	} else {
		pci_command(f, PCI_COMMAND_MEMORY, 0);
		map_mmio(bar.address, bar.size);
	}
	return bar;
}
