// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "boot.h"

#include <stddef.h>

#include "panic.h"
#include "string.h"

#define START_INFO_MAGIC 0x336ec578

/* Xen's public/arch-x86/hvm/start_info.h, version 1. */
struct hvm_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};

_Static_assert(sizeof(struct memory_range) == 24, "struct hvm_memmap_table_entry");

char boot_command_line[1024];
struct memory_range boot_memory_map[32];
unsigned boot_memory_ranges;
uint64_t boot_rsdp;

void boot_save(uint64_t start_info_address)
{
	const struct hvm_start_info *info = (const void *)start_info_address;
	const size_t room = sizeof(boot_memory_map) / sizeof(boot_memory_map[0]);

	if (info->magic != START_INFO_MAGIC)
		panic("not started by a PVH loader: magic 0x%x", info->magic);
	if (info->cmdline_paddr) {
		const char *from = (const char *)info->cmdline_paddr;

		for (size_t i = 0; from[i] && i < sizeof(boot_command_line) - 1; i++)
			boot_command_line[i] = from[i];
	}
	boot_rsdp = info->rsdp_paddr;
	if (info->version >= 1) {
		boot_memory_ranges = info->memmap_entries < room ? info->memmap_entries : room;
		memcpy(boot_memory_map, (const void *)info->memmap_paddr,
		       boot_memory_ranges * sizeof(boot_memory_map[0]));
	}
}

uint64_t boot_memory_size(void)
{
	uint64_t size = 0;

	for (unsigned i = 0; i < boot_memory_ranges; i++)
		if (boot_memory_map[i].type == MEMORY_RAM)
			size += boot_memory_map[i].size;
	return size;
}

bool boot_is_ram(uint64_t address, uint64_t size)
{
	for (unsigned i = 0; i < boot_memory_ranges; i++) {
		const struct memory_range *range = &boot_memory_map[i];

		if (range->type == MEMORY_RAM && address >= range->address &&
		    size <= range->size && address - range->address <= range->size - size)
			return true;
	}
	return false;
}
