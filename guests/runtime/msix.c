// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msix.h"

#include "lapic.h"
#include "pci_bar.h"

#define FLAGS		0x02
#define FLAGS_SIZE	0x07ff		/* vectors - 1 */
#define FLAGS_MASKALL	0x4000
#define FLAGS_ENABLE	0x8000
#define TABLE		0x04
#define PBA		0x08
#define BIR_MASK	0x7

#define ENTRY_SIZE	16
#define ENTRY_ADDRESS_LO 0
#define ENTRY_ADDRESS_HI 4
#define ENTRY_DATA	8
#define ENTRY_CONTROL	12
#define CONTROL_MASKED	1

bool msix_init(struct msix *msix, const struct pci_function *f)
{
	uint32_t table, pba;

	msix->function = f;
	msix->capability = pci_find_capability(f, PCI_CAP_ID_MSIX);
	if (!msix->capability)
		return false;
	msix->vectors = (pci_read16(f, msix->capability + FLAGS) & FLAGS_SIZE) + 1;
	table = pci_read32(f, msix->capability + TABLE);
	pba = pci_read32(f, msix->capability + PBA);
	msix->table_bar = table & BIR_MASK;
	msix->table_offset = table & ~BIR_MASK;
	msix->pba_bar = pba & BIR_MASK;
	msix->pba_offset = pba & ~BIR_MASK;
	return true;
}

void msix_map(struct msix *msix)
{
	struct pci_bar bar = pci_bar_enable(msix->function, msix->table_bar);

	msix->table = pci_bar_memory(&bar) + msix->table_offset;
	bar = pci_bar_enable(msix->function, msix->pba_bar);
	msix->pba = pci_bar_memory(&bar) + msix->pba_offset;
}

void msix_set_entry(const struct msix *msix, unsigned index, uint8_t vector, uint8_t apic_id)
{
	mmio_t entry = msix->table + index * ENTRY_SIZE;

	/* An entry must not be changed while it is unmasked. */
	mmio_write32(entry, ENTRY_CONTROL, CONTROL_MASKED);
	mmio_write32(entry, ENTRY_ADDRESS_LO, msi_address(apic_id));
	mmio_write32(entry, ENTRY_ADDRESS_HI, msi_address(apic_id) >> 32);
	mmio_write32(entry, ENTRY_DATA, msi_data(vector));
}

struct msix_entry msix_entry(const struct msix *msix, unsigned index)
{
	mmio_t entry = msix->table + index * ENTRY_SIZE;

	return (struct msix_entry){
		.address = mmio_read32(entry, ENTRY_ADDRESS_LO) |
			   (uint64_t)mmio_read32(entry, ENTRY_ADDRESS_HI) << 32,
		.data = mmio_read32(entry, ENTRY_DATA),
		.control = mmio_read32(entry, ENTRY_CONTROL),
	};
}

void msix_set_mask(const struct msix *msix, unsigned index, bool masked)
{
	mmio_write32(msix->table + index * ENTRY_SIZE, ENTRY_CONTROL, masked ? CONTROL_MASKED : 0);
}

bool msix_pending(const struct msix *msix, unsigned index)
{
	return mmio_read32(msix->pba, index / 32 * 4) >> index % 32 & 1;
}

static void set_flags(const struct msix *msix, uint16_t set, uint16_t clear)
{
	const uint16_t flags = pci_read16(msix->function, msix->capability + FLAGS);

	pci_write16(msix->function, msix->capability + FLAGS, (flags | set) & ~clear);
}

void msix_enable(const struct msix *msix)
{
	set_flags(msix, FLAGS_ENABLE, FLAGS_MASKALL);
}

void msix_enable_masked(const struct msix *msix)
{
	set_flags(msix, FLAGS_ENABLE | FLAGS_MASKALL, 0);
}

void msix_disable(const struct msix *msix)
{
	set_flags(msix, 0, FLAGS_ENABLE);
}

void msix_set_function_mask(const struct msix *msix, bool masked)
{
	set_flags(msix, masked ? FLAGS_MASKALL : 0, masked ? 0 : FLAGS_MASKALL);
}
