// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Configuration space by ports (PCI Local Bus 3.0, 3.2.2.3.2) and by ECAM (PCIe, 7.2.2). */
#include "pci.h"

#include "cpu.h"
#include "paging.h"
#include "platform.h"

#define CONFIG_ADDRESS	0xcf8
#define CONFIG_DATA	0xcfc
#define CONFIG_ENABLE	0x80000000

static void select(const struct pci_function *f, unsigned offset)
{
	outl(CONFIG_ADDRESS, CONFIG_ENABLE | (uint32_t)f->bus << 16 | f->device << 11 |
			     f->function << 8 | (offset & 0xfc));
}

uint32_t pci_port_read(const struct pci_function *f, unsigned offset, unsigned size)
{
	if (offset >= PCI_CFG_SPACE_SIZE)
		return UINT32_MAX;
	select(f, offset);
	switch (size) {
	case 1:
		return inb(CONFIG_DATA + (offset & 3));
	case 2:
		return inw(CONFIG_DATA + (offset & 2));
	default:
		return inl(CONFIG_DATA);
	}
}

void pci_port_write(const struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
	if (offset >= PCI_CFG_SPACE_SIZE)
		return;
	select(f, offset);
	switch (size) {
	case 1:
		outb(CONFIG_DATA + (offset & 3), value);
		break;
	case 2:
		outw(CONFIG_DATA + (offset & 2), value);
		break;
	default:
		outl(CONFIG_DATA, value);
	}
}

static bool in_ecam(const struct pci_function *f)
{
	return platform.ecam_address && f->bus <= platform.ecam_last_bus;
}

static mmio_t ecam(const struct pci_function *f)
{
	const uint64_t offset = (uint64_t)f->bus << 20 | f->device << 15 | f->function << 12;

	return map_mmio(platform.ecam_address + offset, PCI_CFG_SPACE_EXP_SIZE);
}

uint32_t pci_ecam_read(const struct pci_function *f, unsigned offset, unsigned size)
{
	if (!in_ecam(f))
		return UINT32_MAX;
	switch (size) {
	case 1:
		return mmio_read8(ecam(f), offset);
	case 2:
		return mmio_read16(ecam(f), offset);
	default:
		return mmio_read32(ecam(f), offset);
	}
}

void pci_ecam_write(const struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
	if (!in_ecam(f))
		return;
	switch (size) {
	case 1:
		mmio_write8(ecam(f), offset, value);
		break;
	case 2:
		mmio_write16(ecam(f), offset, value);
		break;
	default:
		mmio_write32(ecam(f), offset, value);
	}
}

uint32_t pci_read(const struct pci_function *f, unsigned offset, unsigned size)
{
	return in_ecam(f) ? pci_ecam_read(f, offset, size) : pci_port_read(f, offset, size);
}

void pci_write(const struct pci_function *f, unsigned offset, unsigned size, uint32_t value)
{
	if (in_ecam(f))
		pci_ecam_write(f, offset, size, value);
	else
		pci_port_write(f, offset, size, value);
}

uint16_t pci_command(const struct pci_function *f, uint16_t set, uint16_t clear)
{
	const uint16_t before = pci_read16(f, PCI_COMMAND);
	const uint16_t after = (before | set) & ~clear;

	if (after != before)
		pci_write16(f, PCI_COMMAND, after);
	return before;
}

unsigned pci_mechanisms_differ(const struct pci_function *f, unsigned dwords)
{
	unsigned differ = 0;

	for (unsigned i = 0; i < dwords; i++)
		differ += pci_port_read(f, 4 * i, 4) != pci_ecam_read(f, 4 * i, 4);
	return differ;
}
