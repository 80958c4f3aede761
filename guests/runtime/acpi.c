// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Layouts: ACPI specification 6.5, chapter 5; MCFG: PCI Firmware specification 3.3, 4.1.2. */
#include "acpi.h"

#include <stddef.h>
#include <stdint.h>

#include "boot.h"
#include "checksum.h"
#include "platform.h"
#include "string.h"

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address;
	uint32_t length;
	uint64_t xsdt_address;
} __attribute__((packed));

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	uint32_t creator_id;
	uint32_t creator_revision;
} __attribute__((packed));

struct madt {
	struct header header;
	uint32_t lapic_address;
	uint32_t flags;
	uint8_t entries[];
} __attribute__((packed));

enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_ADDRESS = 5,
	MADT_X2APIC = 9,
};

#define LAPIC_ENABLED 1

struct mcfg {
	struct header header;
	uint64_t reserved;
	struct {
		uint64_t address;
		uint16_t segment;
		uint8_t first_bus;
		uint8_t last_bus;
		uint32_t reserved;
	} __attribute__((packed)) allocations[];
} __attribute__((packed));

struct fadt {
	struct header header;
	uint8_t before_flags[112 - sizeof(struct header)];
	uint32_t flags;
	struct {
		uint8_t space;
		uint8_t width;
		uint8_t offset;
		uint8_t access;
		uint64_t address;
	} __attribute__((packed)) reset;
	uint8_t reset_value;
} __attribute__((packed));

#define FADT_RESET_SUPPORTED	(1u << 10)
#define SPACE_IO		1

static uint64_t load(const uint8_t *from, size_t size)
{
	uint64_t value = 0;

	memcpy(&value, from, size);
	return value;
}

static const void *find_table(const struct header *root, size_t pointer_size,
			      const char *signature, size_t minimum)
{
	const uint8_t *pointers = (const uint8_t *)(root + 1);

	for (size_t at = 0; at + pointer_size <= root->length - sizeof(*root); at += pointer_size) {
		const struct header *table = (const void *)load(pointers + at, pointer_size);

		if (!memcmp(table->signature, signature, 4) && table->length >= minimum &&
		    sums_to_zero(table, table->length))
			return table;
	}
	return NULL;
}

static void read_madt(const struct madt *madt)
{
	const uint8_t *end = (const uint8_t *)madt + madt->header.length;
	bool have_ioapic = false;

	platform.lapic_address = madt->lapic_address;
	for (const uint8_t *entry = madt->entries; entry + 2 <= end && entry[1] >= 2;
	     entry += entry[1]) {
		switch (entry[0]) {
		case MADT_LAPIC:
			if (load(entry + 4, 4) & LAPIC_ENABLED)
				platform_add_cpu(entry[3]);
			break;
		case MADT_IOAPIC:
			if (have_ioapic)
				break;
			have_ioapic = true;
			platform.ioapic_address = load(entry + 4, 4);
			platform.ioapic_gsi_base = load(entry + 8, 4);
			break;
		case MADT_OVERRIDE:
			if (entry[3] < 16)
				platform.isa_gsi[entry[3]] = load(entry + 4, 4);
			break;
		case MADT_LAPIC_ADDRESS:
			platform.lapic_address = load(entry + 4, 8);
			break;
		case MADT_X2APIC:
			if (load(entry + 8, 4) & LAPIC_ENABLED)
				platform_add_cpu(load(entry + 4, 4));
			break;
		}
	}
}

static void read_mcfg(const struct mcfg *mcfg)
{
	const size_t room = mcfg->header.length - sizeof(*mcfg);

	for (size_t i = 0; i < room / sizeof(mcfg->allocations[0]); i++) {
		if (mcfg->allocations[i].segment || mcfg->allocations[i].first_bus)
			continue;
		platform.ecam_address = mcfg->allocations[i].address;
		platform.ecam_last_bus = mcfg->allocations[i].last_bus;
	}
}

static void read_fadt(const struct fadt *fadt)
{
	if (fadt->flags & FADT_RESET_SUPPORTED && fadt->reset.space == SPACE_IO) {
		platform.reset_port = fadt->reset.address;
		platform.reset_value = fadt->reset_value;
	}
}

bool acpi_read_tables(void)
{
	const struct rsdp *rsdp = (const void *)boot_rsdp;
	const struct header *root;
	const void *table;
	size_t pointer_size = 4;

	if (!rsdp || memcmp(rsdp->signature, "RSD PTR ", 8) || !sums_to_zero(rsdp, 20))
		return false;
	root = (const void *)(uint64_t)rsdp->rsdt_address;
	if (rsdp->revision >= 2 && rsdp->xsdt_address) {
		root = (const void *)rsdp->xsdt_address;
		pointer_size = 8;
	}
	if (root->length < sizeof(*root) || !sums_to_zero(root, root->length))
		return false;

	table = find_table(root, pointer_size, "MCFG", sizeof(struct mcfg));
	if (table)
		read_mcfg(table);
	table = find_table(root, pointer_size, "FACP", sizeof(struct fadt));
	if (table)
		read_fadt(table);
	table = find_table(root, pointer_size, "APIC", sizeof(struct madt));
	if (table)
		read_madt(table);
	return table != NULL;
}
