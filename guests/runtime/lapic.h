/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The local APIC in xAPIC (MMIO) mode. */
#ifndef LAPIC_H
#define LAPIC_H

#include <stdint.h>

#define LAPIC_EOI 0x0b0			/* the register: any write ends the interrupt */

/* Switch on this CPU's local APIC, with all local interrupts masked. Needs platform_init(). */
void lapic_enable(void);

uint8_t lapic_id(void);
void lapic_eoi(void);

void lapic_send_interrupt(uint8_t apic_id, uint8_t vector);
void lapic_send_init(uint8_t apic_id);

/* The CPU starts in real mode at physical address `page` << 12. */
void lapic_send_startup(uint8_t apic_id, uint8_t page);

/* The timer: counts down from `count` once, without interrupt, or periodically with it. */
void lapic_timer_count(uint32_t count);
void lapic_timer_periodic(uint32_t count, uint8_t vector);
void lapic_timer_stop(void);
uint32_t lapic_timer_current(void);

/* Where a device sends its MSI for this CPU and vector (edge, fixed delivery). */
uint64_t msi_address(uint8_t apic_id);
uint32_t msi_data(uint8_t vector);

#endif
