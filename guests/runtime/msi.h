/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Message Signalled Interrupts (PCI Local Bus 3.0, 6.8.1): one address, up to 32 messages. */
#ifndef MSI_H
#define MSI_H

#include <stdbool.h>
#include <stdint.h>

#include "pci.h"

struct msi {
	const struct pci_function *function;
	unsigned capability;		/* its offset */
	unsigned messages;		/* that the function can send */
	bool has_64bit;
	bool has_mask;
};

/* Read the capability; false if there is none. */
bool msi_init(struct msi *msi, const struct pci_function *f);

/*
 * Send messages 0 to `count` - 1 (a power of two) as vectors `first_vector` and on, to the CPU
 * `apic_id`, none masked, and switch MSI on.
 */
void msi_enable(const struct msi *msi, uint8_t first_vector, unsigned count, uint8_t apic_id);
void msi_disable(const struct msi *msi);

/* Only with has_mask. */
void msi_set_mask(const struct msi *msi, unsigned message, bool masked);
uint32_t msi_pending(const struct msi *msi);

#endif
