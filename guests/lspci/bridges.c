// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "bridges.h"

#include "check.h"
#include "mmio.h"
#include "paging.h"
#include "pci.h"
#include "pci_bar.h"
#include "pci_bridge.h"
#include "time.h"

#define PCI_BRIDGE_CONTROL	 0x3e
#define PCI_BRIDGE_CTL_BUS_RESET 0x40

#define NO_DEVICE		0xffff
#define UNUSED_BUS		0xe0
#define RESET_HOLD_US		2000
#define RESET_LIMIT_US		5000000

/* Addresses are written as they were before anything was changed. */
#define NAME			"%02x:%02x.%u"
#define NAMED(f)		(f)->bus, (f)->device, (f)->function

static void number(const struct pci_function *bridge, uint8_t secondary, uint8_t subordinate)
{
	pci_write8(bridge, PCI_SECONDARY_BUS, secondary);
	pci_write8(bridge, PCI_SUBORDINATE_BUS, subordinate);
}

static void test_numbers(const struct pci_function *bridge, const struct pci_function *f)
{
	const uint8_t subordinate = pci_read8(bridge, PCI_SUBORDINATE_BUS);
	struct pci_function elsewhere = *f;

	elsewhere.bus = UNUSED_BUS;
	number(bridge, UNUSED_BUS, UNUSED_BUS);
	check_equal(pci_port_read(&elsewhere, PCI_VENDOR_ID, 2), f->vendor_id,
		    NAME " is on the bus that the bridge gives it", NAMED(f));
	check_equal(pci_port_read(f, PCI_VENDOR_ID, 2), NO_DEVICE, NAME " is not where it was",
		    NAMED(f));
	number(bridge, f->bus, subordinate);
	check_equal(pci_read16(f, PCI_VENDOR_ID), f->vendor_id, NAME " is back", NAMED(f));
}

static bool is_memory(const struct pci_bar *bar)
{
	return bar->kind == PCI_BAR_MEM32 || bar->kind == PCI_BAR_MEM64;
}

static void test_windows(const struct pci_function *bridge, const struct pci_function *f)
{
	struct pci_bar bar = {.kind = PCI_BAR_NONE};
	enum pci_window_kind kind;
	struct pci_window window;
	uint32_t value;

	for (unsigned index = 0; index < PCI_ROM_BAR && !is_memory(&bar); index++)
		bar = pci_bar_probe(f, index);
	if (!is_memory(&bar) || !bar.address)
		return;
	pci_command(bridge, PCI_COMMAND_MEMORY, 0);
	pci_command(f, PCI_COMMAND_MEMORY, 0);
	map_mmio(bar.address, bar.size);
	value = mmio_read32(pci_bar_memory(&bar), 0);

	pci_command(bridge, 0, PCI_COMMAND_MEMORY);
	check(mmio_read32(pci_bar_memory(&bar), 0) != value,
	      NAME ": its memory is not there while the bridge passes none on", NAMED(f));
	pci_command(bridge, PCI_COMMAND_MEMORY, 0);
	check_equal(mmio_read32(pci_bar_memory(&bar), 0), value, NAME ": its memory is back",
		    NAMED(f));

	kind = bar.address >> 32 ? PCI_WINDOW_PREFETCHABLE : PCI_WINDOW_MEMORY;
	window = pci_bridge_window(bridge, kind);
	pci_bridge_set_window(bridge, kind, PCI_WINDOW_CLOSED);
	check(mmio_read32(pci_bar_memory(&bar), 0) != value,
	      NAME ": its memory is not there while the window is closed", NAMED(f));
	pci_bridge_set_window(bridge, kind, window);
	check_equal(mmio_read32(pci_bar_memory(&bar), 0), value,
		    NAME ": its memory is back with the window", NAMED(f));
}

static void test_reset(const struct pci_function *bridge, const struct pci_function *f)
{
	const uint16_t control = pci_read16(bridge, PCI_BRIDGE_CONTROL);

	pci_command(f, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
	pci_write16(bridge, PCI_BRIDGE_CONTROL, control | PCI_BRIDGE_CTL_BUS_RESET);
	sleep_us(RESET_HOLD_US);
	pci_write16(bridge, PCI_BRIDGE_CONTROL, control);
	check(wait_event(pci_read16(f, PCI_VENDOR_ID) == f->vendor_id, RESET_LIMIT_US),
	      NAME " answers after the reset of its bus", NAMED(f));
	check_equal(pci_read16(f, PCI_COMMAND), 0, NAME " has been reset", NAMED(f));
}

void test_bridges(void)
{
	unsigned tested = 0;

	check_section("bridges");
	for (unsigned i = 0; i < pci_function_count; i++) {
		const struct pci_function *f = &pci_functions[i];
		const struct pci_function *bridge = pci_bridge_above(f);

		if (!bridge || f->function || f->header_type == PCI_HEADER_TYPE_BRIDGE)
			continue;
		tested++;
		test_numbers(bridge, f);
		test_windows(bridge, f);
		test_reset(bridge, f);
	}
	check(tested, "there is something behind a bridge");
}
