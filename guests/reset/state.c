// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * The machine's state, item by item, before anything of the program has changed it. What each item
 * should be is not known here, and firmware may have a say: at the first boot they are noted, and
 * later ones have to find the same.
 */
#include "kept.h"

#include "check.h"
#include "cpu.h"
#include "mmio.h"
#include "paging.h"
#include "panic.h"
#include "pci.h"
#include "platform.h"
#include "print.h"

#define LAPIC_IRR	0x200
#define LAPIC_ISR	0x100
#define IOAPIC_INDEX	0x00
#define IOAPIC_WINDOW	0x10
#define IOAPIC_ENTRIES	0x10
#define IOAPIC_PINS	24

#define PIT_COMMAND	0x43
#define PIT_READ_BACK_0	0xe2		/* the status of channel 0 */
#define PIT_MODE	0x3f		/* of the status: not what the time changes */

#define MSI_CONTROL	0x02
#define MSIX_CONTROL	0x02

static unsigned item, differing;

static void note(uint64_t value, const char *what, unsigned number)
{
	if (item == MAX_ITEMS)
		panic("more than %u items", MAX_ITEMS);
	if (KEPT->boots == 1) {
		KEPT->values[item] = value;
	} else if (KEPT->values[item] != value) {
		differing++;
		printf("  %s %x: 0x%lx, at the first boot 0x%lx\n", what, number, value,
		       KEPT->values[item]);
	}
	item++;
}

static uint64_t rdmsr(uint32_t index)
{
	uint32_t low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (uint64_t)high << 32 | low;
}

static void note_cpu(void)
{
	static const uint32_t msrs[] = {
		0x1b,			/* APIC base */
		0x176,			/* SYSENTER_EIP */
		0xc0000081,		/* STAR */
		0xc0000082,		/* LSTAR */
		0xc0000102,		/* KERNEL_GS_BASE */
	};
	uint64_t value;

	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++)
		note(rdmsr(msrs[i]), "MSR", msrs[i]);
	asm volatile("movq %%dr0, %0" : "=r"(value));
	note(value, "DR", 0);
	asm volatile("movq %%dr7, %0" : "=r"(value));
	note(value, "DR", 7);
	note(read_cr2(), "CR", 2);
}

static void note_lapic(void)
{
	static const uint16_t registers[] = {
		0x20, 0x80, 0xd0, 0xe0, 0xf0, 0x320, 0x350, 0x360, 0x370, 0x380, 0x390,
	};
	mmio_t lapic = map_mmio(platform.lapic_address, 4096);

	for (unsigned i = 0; i < sizeof(registers) / sizeof(registers[0]); i++)
		note(mmio_read32(lapic, registers[i]), "local APIC register", registers[i]);
	for (unsigned i = 0; i < 8; i++) {
		note(mmio_read32(lapic, LAPIC_IRR + 16 * i), "local APIC IRR", i);
		note(mmio_read32(lapic, LAPIC_ISR + 16 * i), "local APIC ISR", i);
	}
}

static void note_ioapic(void)
{
	mmio_t ioapic = map_mmio(platform.ioapic_address, 4096);

	note(mmio_read32(ioapic, IOAPIC_INDEX), "I/O APIC index", 0);
	for (unsigned i = 0; i < 2 * IOAPIC_PINS; i++) {
		mmio_write32(ioapic, IOAPIC_INDEX, IOAPIC_ENTRIES + i);
		note(mmio_read32(ioapic, IOAPIC_WINDOW), "I/O APIC entry", i);
	}
}

static void note_ports(void)
{
	static const uint16_t bytes[] = {
		0x21, 0xa1, 0x4d0, 0x4d1,	/* PIC: masks, ELCR */
		0x3ff,				/* COM1's scratch register */
	};

	note(inl(0xcf8), "port", 0xcf8);	/* first: PCI accesses go by it */
	for (unsigned i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++)
		note(inb(bytes[i]), "port", bytes[i]);
	outb(PIT_COMMAND, PIT_READ_BACK_0);
	note(inb(0x40) & PIT_MODE, "PIT channel", 0);
	note(inw(0x602), "PM1a enable, port", 0x602);
	outb(0x64, 0x20);
	note(inb(0x60), "i8042 configuration", 0);
	outb(0x70, 0x0b);
	note(inb(0x71), "RTC register", 0x0b);
}

static void note_function(const struct pci_function *f)
{
	const unsigned id = f->device << 3 | f->function;
	const unsigned msi = pci_find_capability(f, PCI_CAP_ID_MSI);
	const unsigned msix = pci_find_capability(f, PCI_CAP_ID_MSIX);

	note(pci_read16(f, PCI_COMMAND), "command of function", id);
	for (unsigned at = PCI_BASE_ADDRESS_0; at < PCI_BASE_ADDRESS_0 + 24; at += 4)
		note(pci_read32(f, at), "BAR of function", id);
	note(pci_read8(f, PCI_INTERRUPT_LINE), "interrupt line of function", id);
	if (msi)
		note(pci_read16(f, msi + MSI_CONTROL), "MSI control of function", id);
	if (msix)
		note(pci_read16(f, msix + MSIX_CONTROL), "MSI-X control of function", id);
}

bool check_state(void)
{
	note_ports();
	note_cpu();
	note_lapic();
	note_ioapic();
	pci_init();
	for (unsigned i = 0; i < pci_function_count; i++)
		note_function(&pci_functions[i]);
	if (KEPT->boots == 1)
		KEPT->items = item;
	return check_equal(item, KEPT->items, "there is as much of a machine as at the first boot") &&
	       check_equal(differing, 0, "its state is as at the first boot");
}
