// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * Every function that has them, put into D3hot and back, and reset by itself: what it decodes must
 * be gone meanwhile, and there again after. It needs to know nothing of the devices.
 */
#include "runtime.h"

#include "check.h"
#include "interrupt.h"
#include "pci.h"
#include "pci_bar.h"
#include "platform.h"
#include "print.h"
#include "time.h"

#define BARS		6
#define COMMAND_BITS	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
#define CLASS_BRIDGE	0x06

#define WAKING_US	10000	/* PCI Bus Power Management 1.2, table 5-6 */
#define RESET_US	100000	/* PCI Express Base 6.0, section 6.6.2 */

/* The first memory BAR of a function, enabled. */
static struct pci_bar first_memory(const struct pci_function *f)
{
	struct pci_bar bar = {.kind = PCI_BAR_NONE};

	for (unsigned i = 0; i < BARS; i++) {
		bar = pci_bar_probe(f, i);
		if (bar.kind == PCI_BAR_MEM32 || bar.kind == PCI_BAR_MEM64)
			return pci_bar_enable(f, i);
	}
	bar.kind = PCI_BAR_NONE;
	return bar;
}

/* What a register reads depends on the device; that it is there does not. */
static void check_there(const struct pci_bar *bar, bool there, const char *when)
{
	uint32_t read;

	if (bar->kind == PCI_BAR_NONE)
		return;
	read = mmio_read32(pci_bar_memory(bar), 0);
	if (there)
		check(read != UINT32_MAX, "%s: its memory is there", when);
	else
		check_equal(read, UINT32_MAX, "%s: its memory reads all-ones", when);
}

static void set_state(const struct pci_function *f, unsigned control, uint16_t state)
{
	const uint16_t value = pci_read16(f, control) & ~PCI_PM_STATE_MASK;

	pci_write16(f, control, value | state);
	sleep_us(WAKING_US);
}

static void test_power(const struct pci_function *f, const struct pci_bar *bar)
{
	const unsigned capability = pci_find_capability(f, PCI_CAP_ID_PM);
	const unsigned control = capability + PCI_PM_CTRL;

	if (!capability)
		return;
	set_state(f, control, PCI_PM_D3HOT);
	check_equal(pci_read16(f, control) & PCI_PM_STATE_MASK, PCI_PM_D3HOT,
		    "D3hot: it says so");
	check_there(bar, false, "D3hot");
	set_state(f, control, PCI_PM_D0);
	check_equal(pci_read16(f, control) & PCI_PM_STATE_MASK, PCI_PM_D0, "D0: it says so");
	check_there(bar, true, "D0");
}

/* Ask for a reset, by whichever capability has one. */
static bool reset(const struct pci_function *f)
{
	const unsigned express = pci_find_capability(f, PCI_CAP_ID_EXP);
	const unsigned advanced = pci_find_capability(f, PCI_CAP_ID_AF);

	if (express && pci_read32(f, express + PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR) {
		const unsigned control = express + PCI_EXP_DEVCTL;

		pci_write16(f, control, pci_read16(f, control) | PCI_EXP_DEVCTL_FLR);
	} else if (advanced && pci_read8(f, advanced + PCI_AF_CAP) & PCI_AF_CAP_FLR) {
		pci_write8(f, advanced + PCI_AF_CTRL, PCI_AF_CTRL_FLR);
	} else {
		return false;
	}
	sleep_us(RESET_US);
	return true;
}

static void test_reset(const struct pci_function *f, const struct pci_bar *bar)
{
	const uint16_t command = pci_command(f, COMMAND_BITS, 0) | COMMAND_BITS;
	uint32_t bars[BARS];

	for (unsigned i = 0; i < BARS; i++)
		bars[i] = pci_read32(f, PCI_BASE_ADDRESS_0 + 4 * i);
	if (!reset(f))
		return;
	check_equal(pci_read16(f, PCI_VENDOR_ID), f->vendor_id, "reset: it answers");
	check_equal(pci_read16(f, PCI_COMMAND) & COMMAND_BITS, 0,
		    "reset: it decodes nothing, and does no DMA");
	check_there(bar, false, "reset");
	for (unsigned i = 0; i < BARS; i++)
		pci_write32(f, PCI_BASE_ADDRESS_0 + 4 * i, bars[i]);
	pci_write16(f, PCI_COMMAND, command);
	check_there(bar, true, "restored");
}

int main(void)
{
	platform_init();
	interrupts_init();
	pci_init();
	for (unsigned i = 0; i < pci_function_count; i++) {
		const struct pci_function *f = &pci_functions[i];
		struct pci_bar bar;

		if (f->class_code >> 16 == CLASS_BRIDGE || f->header_type)
			continue;
		printf("%02x:%02x.%u %04x:%04x:\n", f->bus, f->device, f->function, f->vendor_id,
		       f->device_id);
		bar = first_memory(f);
		check_there(&bar, true, "at first");
		test_power(f, &bar);
		test_reset(f, &bar);
	}
	return check_result();
}
