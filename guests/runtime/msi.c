// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msi.h"

#include "lapic.h"
#include "panic.h"

#define FLAGS		0x02
#define FLAGS_ENABLE	0x0001
#define FLAGS_QMASK	0x000e		/* log2 of the messages it can send */
#define FLAGS_QSIZE	0x0070		/* log2 of the messages it may send */
#define FLAGS_64BIT	0x0080
#define FLAGS_MASKBIT	0x0100
#define ADDRESS_LO	0x04
#define ADDRESS_HI	0x08

/* What follows the address moves with its width. */
#define DATA(msi)	((msi)->capability + ((msi)->has_64bit ? 0x0c : 0x08))
#define MASK(msi)	(DATA(msi) + 4)
#define PENDING(msi)	(DATA(msi) + 8)

bool msi_init(struct msi *msi, const struct pci_function *f)
{
	uint16_t flags;

	msi->function = f;
	msi->capability = pci_find_capability(f, PCI_CAP_ID_MSI);
	if (!msi->capability)
		return false;
	flags = pci_read16(f, msi->capability + FLAGS);
	msi->messages = 1 << ((flags & FLAGS_QMASK) >> 1);
	msi->has_64bit = flags & FLAGS_64BIT;
	msi->has_mask = flags & FLAGS_MASKBIT;
	return true;
}

void msi_enable(const struct msi *msi, uint8_t first_vector, unsigned count, uint8_t apic_id)
{
	const struct pci_function *f = msi->function;
	const unsigned log2_count = __builtin_ctz(count);
	uint16_t flags = pci_read16(f, msi->capability + FLAGS);

	if (count > msi->messages || first_vector % count)
		panic("MSI: %u messages from vector %u", count, first_vector);
	flags &= ~(FLAGS_ENABLE | FLAGS_QSIZE);
	pci_write16(f, msi->capability + FLAGS, flags);
	pci_write32(f, msi->capability + ADDRESS_LO, msi_address(apic_id));
	if (msi->has_64bit)
		pci_write32(f, msi->capability + ADDRESS_HI, msi_address(apic_id) >> 32);
	pci_write16(f, DATA(msi), msi_data(first_vector));
	if (msi->has_mask)
		pci_write32(f, MASK(msi), 0);
	pci_write16(f, msi->capability + FLAGS, flags | log2_count << 4 | FLAGS_ENABLE);
}

void msi_disable(const struct msi *msi)
{
	const uint16_t flags = pci_read16(msi->function, msi->capability + FLAGS);

	pci_write16(msi->function, msi->capability + FLAGS, flags & ~FLAGS_ENABLE);
}

void msi_set_mask(const struct msi *msi, unsigned message, bool masked)
{
	const uint32_t before = pci_read32(msi->function, MASK(msi));
	const uint32_t bit = 1u << message;

	pci_write32(msi->function, MASK(msi), masked ? before | bit : before & ~bit);
}

uint32_t msi_pending(const struct msi *msi)
{
	return pci_read32(msi->function, PENDING(msi));
}
