// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* The device raises its interrupt; the next one follows when it has been taken. */
#include "check.h"
#include "interrupt.h"
#include "lapic.h"
#include "storm.h"
#include "target.h"
#include "time.h"

static volatile unsigned taken;

static void on_interrupt(uint8_t vector)
{
	(void)vector;
	target_acknowledge();
	taken++;
}

void storm_irq(unsigned n)
{
	const uint8_t vector = vectors_allocate(1);
	uint64_t start;

	if (!check(target.vectors > 0, "irq: there is a device with interrupts"))
		return;

	interrupt_handle(vector, on_interrupt);
	target_enable_interrupt(0, vector, lapic_id());
	tick_start();
	start = rdtsc();
	for (unsigned i = 1; i <= n; i++) {
		target_raise(0);
		if (!wait_event_ticking(taken >= i, LIMIT_US))
			break;
	}
	report("irq", target.name, "raise", n, rdtsc() - start);
	tick_stop();
	check_equal(taken, n, "irq: each interrupt came");
}
