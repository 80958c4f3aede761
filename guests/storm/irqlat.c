// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * For benchmarks of the way from an event on the host to a handler in the guest. The harness
 * waits for the line, then injects the message it names, say by an irqfd; the first thing the
 * handler does is to write to the port, which the harness sees as an exit.
 */
#include "interrupt.h"
#include "irqlat_entry.h"
#include "lapic.h"
#include "platform.h"
#include "print.h"
#include "storm.h"

#include "cpu.h"

#define VECTOR 0x40

void storm_irqlat(unsigned n)
{
	irqlat_eoi_register = platform.lapic_address + LAPIC_EOI;
	interrupt_gate(VECTOR, irqlat_entry);
	printf("storm mode=irqlat vector=0x%x address=0x%lx data=0x%x port=0x%x n=%u\n", VECTOR,
	       msi_address(lapic_id()), msi_data(VECTOR), HARMLESS_PORT, n);
	for (;;) {
		irq_disable();
		if (irqlat_count >= n)
			break;
		irq_enable_and_halt();
	}
	irq_enable();
	printf("storm mode=irqlat taken=%u\n", irqlat_count);
}
