// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "ioapic.h"

#include "mmio.h"
#include "paging.h"
#include "panic.h"
#include "platform.h"

#define INDEX		0x00
#define WINDOW		0x10

#define VERSION		0x01		/* bits 16-23: the last pin */
#define REDIRECTION(pin) (0x10 + 2 * (pin))

#define ENTRY_LOW_ACTIVE 0x02000
#define ENTRY_LEVEL	0x08000
#define ENTRY_MASKED	0x10000

static mmio_t ioapic;

static uint32_t read(unsigned index)
{
	mmio_write32(ioapic, INDEX, index);
	return mmio_read32(ioapic, WINDOW);
}

static void write(unsigned index, uint32_t value)
{
	mmio_write32(ioapic, INDEX, index);
	mmio_write32(ioapic, WINDOW, value);
}

static unsigned pin_of(unsigned gsi)
{
	const unsigned pin = gsi - platform.ioapic_gsi_base;

	ioapic = map_mmio(platform.ioapic_address, 4096);
	if (gsi < platform.ioapic_gsi_base || pin > (read(VERSION) >> 16 & 0xff))
		panic("GSI %u is not a pin of the I/O APIC", gsi);
	return pin;
}

void ioapic_route(unsigned gsi, enum trigger trigger, uint8_t vector, uint8_t apic_id)
{
	const unsigned pin = pin_of(gsi);
	const uint32_t entry = trigger == LEVEL_LOW ? ENTRY_LEVEL | ENTRY_LOW_ACTIVE : 0;

	write(REDIRECTION(pin), ENTRY_MASKED);
	write(REDIRECTION(pin) + 1, (uint32_t)apic_id << 24);
	write(REDIRECTION(pin), vector | entry);
}

void ioapic_set_mask(unsigned gsi, bool masked)
{
	const unsigned pin = pin_of(gsi);
	const uint32_t entry = read(REDIRECTION(pin));

	write(REDIRECTION(pin), masked ? entry | ENTRY_MASKED : entry & ~ENTRY_MASKED);
}
