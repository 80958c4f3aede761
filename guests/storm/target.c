// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "target.h"

#include <stddef.h>

#include "msi.h"
#include "msix.h"
#include "panic.h"
#include "pci.h"
#include "pci_bar.h"

#define VENDOR_ID		0x1234

#define TESTDEV_DEVICE_ID	0x7e57
#define TESTDEV_SCRATCH		0x08
#define TESTDEV_TRAPS		0x0c
#define TESTDEV_IRQ_RAISE	0x10
#define TESTDEV_MAPPED		0x4000

#define EDU_DEVICE_ID		0x11e8
#define EDU_LIVENESS		0x04
#define EDU_IRQ_RAISE		0x60
#define EDU_IRQ_ACK		0x64
#define EDU_CAUSE		1

struct target target;

static const struct pci_function *function;
static struct msix msix;
static struct msi msi;

static void use(const struct pci_function *f, const char *name, unsigned scratch)
{
	const struct pci_bar bar = pci_bar_enable(f, 0);

	function = f;
	target.name = name;
	target.registers = pci_bar_memory(&bar);
	target.scratch = scratch;
	pci_command(f, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 0);
}

static void use_testdev(const struct pci_function *f)
{
	use(f, "testdev", TESTDEV_SCRATCH);
	target.mapped = target.registers + TESTDEV_MAPPED;
	target.traps = target.registers + TESTDEV_TRAPS;
	if (!msix_init(&msix, f))
		panic("testdev without MSI-X");
	msix_map(&msix);
	msix_enable(&msix);
	target.vectors = msix.vectors;
}

static void use_edu(const struct pci_function *f)
{
	use(f, "edu", EDU_LIVENESS);
	if (!msi_init(&msi, f))
		panic("edu without MSI");
	target.vectors = 1;
}

void target_init(void)
{
	const struct pci_function *testdev = pci_find(VENDOR_ID, TESTDEV_DEVICE_ID);
	const struct pci_function *edu = pci_find(VENDOR_ID, EDU_DEVICE_ID);

	if (testdev)
		use_testdev(testdev);
	else if (edu)
		use_edu(edu);
}

static bool is_testdev(void)
{
	return function->device_id == TESTDEV_DEVICE_ID;
}

void target_enable_interrupt(unsigned index, uint8_t vector, uint8_t apic_id)
{
	if (is_testdev()) {
		msix_set_entry(&msix, index, vector, apic_id);
		msix_set_mask(&msix, index, false);
	} else {
		msi_enable(&msi, vector, 1, apic_id);
	}
}

void target_raise(unsigned index)
{
	if (is_testdev())
		mmio_write32(target.registers, TESTDEV_IRQ_RAISE, index);
	else
		mmio_write32(target.registers, EDU_IRQ_RAISE, EDU_CAUSE);
}

void target_acknowledge(void)
{
	if (!is_testdev())
		mmio_write32(target.registers, EDU_IRQ_ACK, EDU_CAUSE);
}
