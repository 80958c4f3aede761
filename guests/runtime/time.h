/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Time by the TSC, and waiting, with the local APIC timer as the alarm clock. */
#ifndef TIME_H
#define TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

extern uint64_t tsc_khz;

/* Calibrate the TSC and the local APIC timer against the PIT. interrupts_init() calls it. */
void time_init(void);

/* Nanoseconds since time_init(). */
uint64_t time_ns(void);

/* The length of `cycles` of the TSC. */
uint64_t cycles_to_ns(uint64_t cycles);

/* An interrupt every millisecond on this CPU, so that a HLT ends. */
void tick_start(void);
void tick_stop(void);

/*
 * Sleep until `condition` holds, at most `timeout_us` microseconds; true if it holds.
 * It is looked at, with interrupts off, after each interrupt of this CPU and at least once
 * in a millisecond: so it may depend on a handler as well as on a device register.
 */
#define wait_event(condition, timeout_us)					\
({										\
	bool came_;								\
										\
	tick_start();								\
	came_ = wait_event_ticking(condition, timeout_us);			\
	tick_stop();								\
	came_;									\
})

/* The same, with the tick already started: for waits in quick succession. */
#define wait_event_ticking(condition, timeout_us)				\
({										\
	const uint64_t deadline_ = time_ns() + (timeout_us) * 1000ull;		\
	bool holds_;								\
										\
	for (;;) {								\
		irq_disable();							\
		holds_ = (condition);						\
		if (holds_ || time_ns() >= deadline_)				\
			break;							\
		irq_enable_and_halt();						\
	}									\
	irq_enable();								\
	holds_;									\
})

void sleep_us(uint64_t us);

#endif
