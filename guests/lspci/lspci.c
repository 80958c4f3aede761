// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * Every PCI function: ids, BARs with their sizes, capabilities; and whether the two ways to
 * configuration space agree. README.md gives the format.
 */
#include "runtime.h"

#include "bridges.h"
#include "check.h"
#include "interrupt.h"
#include "msi.h"
#include "msix.h"
#include "names.h"
#include "options.h"
#include "pci.h"
#include "pci_bar.h"
#include "pci_bridge.h"
#include "platform.h"
#include "print.h"

#define HEADER_DWORDS 16

static void list_bars(const struct pci_function *f)
{
	static const char *const kinds[] = {
		[PCI_BAR_IO] = "io", [PCI_BAR_MEM32] = "mem32", [PCI_BAR_MEM64] = "mem64",
	};

	for (unsigned index = 0; index < PCI_BARS; index++) {
		const struct pci_bar bar = pci_bar_probe(f, index);

		if (bar.kind == PCI_BAR_ROM)
			printf("    rom at 0x%lx, size 0x%lx\n", bar.address, bar.size);
		else if (bar.kind != PCI_BAR_NONE)
			printf("    bar %u: %s%s at 0x%lx, size 0x%lx\n", index, kinds[bar.kind],
			       bar.prefetchable ? " prefetchable" : "", bar.address, bar.size);
	}
}

static void list_bridge(const struct pci_function *f)
{
	static const char *const kinds[PCI_WINDOWS] = {
		[PCI_WINDOW_IO] = "io", [PCI_WINDOW_MEMORY] = "memory",
		[PCI_WINDOW_PREFETCHABLE] = "prefetchable memory",
	};

	printf("    buses %02x to %02x\n", pci_read8(f, PCI_SECONDARY_BUS),
	       pci_read8(f, PCI_SUBORDINATE_BUS));
	for (unsigned kind = 0; kind < PCI_WINDOWS; kind++) {
		const struct pci_window window = pci_bridge_window(f, kind);

		if (window.start < window.end)
			printf("    window: %s from 0x%lx to 0x%lx\n", kinds[kind], window.start,
			       window.end - 1);
	}
}

static void list_capabilities(const struct pci_function *f)
{
	unsigned offset = 0;

	for (unsigned i = 0; i < PCI_MAX_CAPABILITIES; i++) {
		uint8_t id;

		offset = pci_next_capability(f, offset);
		if (!offset)
			break;
		id = pci_read8(f, offset);
		printf("    capability 0x%02x: 0x%02x %s", offset, id, capability_name(id));
		if (id == PCI_CAP_ID_MSI) {
			struct msi msi;

			msi_init(&msi, f);
			printf(", messages %u%s%s", msi.messages, msi.has_64bit ? ", 64-bit" : "",
			       msi.has_mask ? ", maskable" : "");
		} else if (id == PCI_CAP_ID_MSIX) {
			struct msix msix;

			msix_init(&msix, f);
			printf(", vectors %u, table in bar %u at 0x%lx, pba in bar %u at 0x%lx",
			       msix.vectors, msix.table_bar, msix.table_offset, msix.pba_bar,
			       msix.pba_offset);
		}
		printf("\n");
	}
}

static void list_extended_capabilities(const struct pci_function *f)
{
	unsigned offset = 0;

	for (unsigned i = 0; i < PCI_MAX_EXTENDED_CAPABILITIES; i++) {
		uint32_t header;

		offset = pci_next_extended_capability(f, offset);
		if (!offset)
			break;
		header = pci_read32(f, offset);
		printf("    extended capability 0x%03x: 0x%04x %s, version %u\n", offset,
		       header & 0xffff, extended_capability_name(header & 0xffff),
		       header >> 16 & 0xf);
	}
}

static void list(const struct pci_function *f)
{
	const uint8_t pin = pci_read8(f, PCI_INTERRUPT_PIN);

	printf("%02x:%02x.%u %04x:%04x class %06x revision %02x header type %u\n", f->bus,
	       f->device, f->function, f->vendor_id, f->device_id, f->class_code, f->revision,
	       f->header_type);
	if (f->header_type != PCI_HEADER_TYPE_BRIDGE)
		printf("    subsystem %04x:%04x\n", pci_read16(f, PCI_SUBSYSTEM_VENDOR_ID),
		       pci_read16(f, PCI_SUBSYSTEM_ID));
	if (pin)
		printf("    interrupt pin %c, line %u\n", 'A' + pin - 1,
		       pci_read8(f, PCI_INTERRUPT_LINE));
	list_bars(f);
	if (f->header_type == PCI_HEADER_TYPE_BRIDGE)
		list_bridge(f);
	list_capabilities(f);
	list_extended_capabilities(f);
}

int main(void)
{
	platform_init();
	pci_init();
	for (unsigned i = 0; i < pci_function_count; i++)
		list(&pci_functions[i]);

	printf("functions: %u\n", pci_function_count);
	check(pci_function_count > 0, "there are functions");
	if (platform.ecam_address)
		for (unsigned i = 0; i < pci_function_count; i++)
			check_equal(pci_mechanisms_differ(&pci_functions[i], HEADER_DWORDS), 0,
				    "%02x:%02x.%u reads the same by ports and by ECAM",
				    pci_functions[i].bus, pci_functions[i].device,
				    pci_functions[i].function);
	if (option_given("bridges")) {
		interrupts_init();
		test_bridges();
	}
	return check_result();
}
