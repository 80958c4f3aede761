// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Layouts: Intel MultiProcessor Specification 1.4, chapter 4. */
#include "mptable.h"

#include <stddef.h>
#include <stdint.h>

#include "checksum.h"
#include "platform.h"
#include "string.h"

#define MP_SIGNATURE 0x5f504d5f		/* "_MP_" */

struct floating_pointer {
	uint32_t signature;
	uint32_t table_address;
	uint8_t length;			/* in units of 16 bytes */
	uint8_t version;
	uint8_t checksum;
	uint8_t features[5];
} __attribute__((packed));

struct mp_header {
	char signature[4];
	uint16_t length;
	uint8_t version;
	uint8_t checksum;
	char oem_id[8];
	char product_id[12];
	uint32_t oem_table_address;
	uint16_t oem_table_size;
	uint16_t entry_count;
	uint32_t lapic_address;
	uint16_t extended_length;
	uint8_t extended_checksum;
	uint8_t reserved;
} __attribute__((packed));

enum {
	MP_PROCESSOR = 0,		/* 20 bytes; all others have 8 */
	MP_IOAPIC = 2,
};

#define ENABLED 1

static const struct floating_pointer *search(uint64_t start, uint64_t size)
{
	for (uint64_t at = start; at < start + size; at += 16) {
		const struct floating_pointer *pointer = (const void *)at;

		if (pointer->signature == MP_SIGNATURE && pointer->length == 1 &&
		    sums_to_zero(pointer, sizeof(*pointer)))
			return pointer;
	}
	return NULL;
}

bool mptable_read(void)
{
	/* The last KiB of base memory, then the BIOS ROM (section 4). */
	const struct floating_pointer *pointer = search(0x9fc00, 0x400);
	const struct mp_header *header;
	const uint8_t *entry;

	if (!pointer)
		pointer = search(0xf0000, 0x10000);
	if (!pointer || !pointer->table_address)
		return false;
	header = (const void *)(uint64_t)pointer->table_address;
	if (memcmp(header->signature, "PCMP", 4) || !sums_to_zero(header, header->length))
		return false;

	platform.lapic_address = header->lapic_address;
	entry = (const uint8_t *)(header + 1);
	for (unsigned i = 0; i < header->entry_count; i++) {
		switch (entry[0]) {
		case MP_PROCESSOR:
			if (entry[3] & ENABLED)
				platform_add_cpu(entry[1]);
			entry += 20;
			continue;
		case MP_IOAPIC:
			if (entry[3] & ENABLED)
				memcpy(&platform.ioapic_address, entry + 4, 4);
			break;
		}
		entry += 8;
	}
	return true;
}
