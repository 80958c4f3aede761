// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "time.h"

#include <stdbool.h>

#include "interrupt.h"
#include "lapic.h"
#include "panic.h"

#define PIT_HZ		1193182
#define PIT_CHANNEL2	0x42
#define PIT_COMMAND	0x43
#define PIT_MODE0_CH2	0xb0		/* channel 2, both bytes, interrupt on terminal count */
#define PORT_B		0x61
#define PORT_B_GATE2	0x01
#define PORT_B_SPEAKER	0x02
#define PORT_B_OUT2	0x20

#define WINDOW_MS	10
#define POLL_LIMIT	10000000
#define ATTEMPTS	20

uint64_t tsc_khz;
static uint64_t tsc_start;
static uint32_t timer_khz;		/* of the local APIC timer, after its divider */

static bool calibrate(void)
{
	const unsigned ticks = PIT_HZ * WINDOW_MS / 1000;
	unsigned polls = 0;

	outb(PORT_B, (inb(PORT_B) & ~PORT_B_SPEAKER) | PORT_B_GATE2);
	outb(PIT_COMMAND, PIT_MODE0_CH2);
	outb(PIT_CHANNEL2, ticks & 0xff);
	outb(PIT_CHANNEL2, ticks >> 8);
	lapic_timer_count(UINT32_MAX);
	tsc_start = rdtsc();
	while (!(inb(PORT_B) & PORT_B_OUT2) && polls < POLL_LIMIT)
		polls++;
	tsc_khz = (rdtsc() - tsc_start) / WINDOW_MS;
	timer_khz = (UINT32_MAX - lapic_timer_current()) / WINDOW_MS;
	lapic_timer_stop();
	/* OUT2 is low for 10 ms, so there are many polls; a missing port reads all-ones. */
	return polls >= 2 && polls < POLL_LIMIT && timer_khz;
}

/* A busy host may take the CPU away for all of the window. */
void time_init(void)
{
	for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++)
		if (calibrate())
			return;
	panic("cannot calibrate time: no PIT channel 2");
}

uint64_t cycles_to_ns(uint64_t cycles)
{
	/* In two parts: the product overflows after two hours. */
	return cycles / tsc_khz * 1000000 + cycles % tsc_khz * 1000000 / tsc_khz;
}

uint64_t time_ns(void)
{
	return cycles_to_ns(rdtsc() - tsc_start);
}

void tick_start(void)
{
	lapic_timer_periodic(timer_khz, VECTOR_TIMER);
}

void tick_stop(void)
{
	lapic_timer_stop();
}

void sleep_us(uint64_t us)
{
	wait_event(false, us);
}
