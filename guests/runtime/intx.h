/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A function's INTx line. Which I/O APIC pin it drives is normally AML's to tell (_PRT); here
 * the interrupt line register says it: a VMM that knows puts the GSI there, and q35's SeaBIOS
 * puts the ISA interrupt its PIRQ routing leads to, which is an I/O APIC pin as well.
 */
#ifndef INTX_H
#define INTX_H

#include <stdbool.h>
#include <stdint.h>

#include "pci.h"

/* Route the line to `vector` on the CPU `apic_id`, level-triggered, and let it assert. */
void intx_enable(const struct pci_function *f, uint8_t vector, uint8_t apic_id);

/* Mask the pin, and keep the function from asserting the line. */
void intx_disable(const struct pci_function *f);

/* Mask or unmask the I/O APIC pin alone. */
void intx_set_pin_mask(const struct pci_function *f, bool masked);

/* The function's own view, whether or not the command register lets it out. */
bool intx_pending(const struct pci_function *f);

#endif
