// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Everything that state.c looks at gets another value, and what can raise interrupts does. */
#include "kept.h"

#include <stddef.h>

#include "cpu.h"
#include "interrupt.h"
#include "ioapic.h"
#include "lapic.h"
#include "msi.h"
#include "msix.h"
#include "pci.h"
#include "pci_bar.h"
#include "platform.h"
#include "serial.h"
#include "time.h"

#define PIT_CHANNEL0	0x40
#define PIT_COMMAND	0x43
#define PIT_RATE_CH0	0x34		/* channel 0, both bytes, rate generator */
#define PIT_COUNT	11932		/* 100 Hz */

static void wrmsr(uint32_t index, uint64_t value)
{
	asm volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static void soil_cpu(void)
{
	const uint64_t somewhere = 0x12345678;

	wrmsr(0x176, somewhere);
	wrmsr(0xc0000081, somewhere << 32);
	wrmsr(0xc0000082, somewhere);
	wrmsr(0xc0000102, somewhere);
	asm volatile("movq %0, %%dr0" : : "r"(somewhere));
	asm volatile("movq %0, %%cr2" : : "r"(somewhere));
}

static void soil_ports(void)
{
	outb(0x21, 0xfe);		/* the timer's interrupts, to the local APIC's LINT0 */
	outb(0x4d0, 0x20);
	outb(0x3ff, 0x5a);
	outw(0x602, 0x0021);
	outb(0x64, 0x60);
	outb(0x60, 0x07);
	outb(0x70, 0x0b);
	outb(0x71, 0x42);		/* periodic interrupts, 24 hours */
	outb(PIT_COMMAND, PIT_RATE_CH0);
	outb(PIT_CHANNEL0, PIT_COUNT & 0xff);
	outb(PIT_CHANNEL0, PIT_COUNT >> 8);
}

static void soil_function(const struct pci_function *f)
{
	const uint8_t vector = vectors_allocate(1);
	struct msi msi;
	struct msix msix;

	interrupt_handle(vector, NULL);
	if (msix_init(&msix, f)) {
		pci_bar_enable(f, msix.table_bar);
		msix_map(&msix);
		msix_enable(&msix);
		msix_set_entry(&msix, 0, vector, lapic_id());
		msix_set_mask(&msix, 0, false);
	} else if (msi_init(&msi, f)) {
		msi_enable(&msi, vector, 1, lapic_id());
	}
	/* Another place, decoded or not. */
	pci_command(f, 0, PCI_COMMAND_MEMORY);
	pci_write32(f, PCI_BASE_ADDRESS_0, pci_read32(f, PCI_BASE_ADDRESS_0) + 0x1000000);
	pci_write8(f, PCI_INTERRUPT_LINE, 0x0a);
	pci_command(f, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 0);
}

void soil(void)
{
	const uint8_t vector = vectors_allocate(1);

	interrupt_handle(vector, NULL);
	ioapic_route(platform.isa_gsi[SERIAL_IRQ], EDGE_HIGH, vector, lapic_id());
	serial_enable_receive_interrupt();
	soil_cpu();
	soil_ports();
	for (unsigned i = 0; i < pci_function_count; i++) {
		const struct pci_function *f = &pci_functions[i];

		if (f->header_type != PCI_HEADER_TYPE_BRIDGE && f->device)
			soil_function(f);
	}
	outl(0xcf8, 0x80001234);
	tick_start();
}
