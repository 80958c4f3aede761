/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the loader handed over (struct hvm_start_info): command line, memory map, ACPI root.
 * All of it is copied at start-up, so memory below 1 MiB is free afterwards.
 */
#ifndef BOOT_H
#define BOOT_H

#include <stdbool.h>
#include <stdint.h>

#define MEMORY_RAM 1			/* the E820 type */

struct memory_range {
	uint64_t address;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

extern char boot_command_line[1024];
extern struct memory_range boot_memory_map[32];
extern unsigned boot_memory_ranges;
extern uint64_t boot_rsdp;		/* 0: the loader knows no ACPI tables */

void boot_save(uint64_t start_info_address);

/* Bytes of RAM in the memory map. */
uint64_t boot_memory_size(void);

/* Is [address, address + size) RAM of one range of the memory map? */
bool boot_is_ram(uint64_t address, uint64_t size);

#endif
