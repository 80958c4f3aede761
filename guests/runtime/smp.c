// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "smp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boot.h"
#include "cpu.h"
#include "interrupt.h"
#include "lapic.h"
#include "panic.h"
#include "platform.h"
#include "string.h"
#include "time.h"

#define TRAMPOLINE_ADDRESS	0x8000
#define STACK_SIZE		8192
#define START_LIMIT_US		1000000

extern const uint8_t trampoline[], trampoline_end[];
_Noreturn void secondary_start(void);

uint64_t secondary_stack;		/* of the CPU being started; read by entry.S */

static uint8_t stacks[MAX_CPUS][STACK_SIZE] __attribute__((aligned(16)));
static uint8_t index_of[256];		/* CPU number by APIC id */
static uint8_t apic_id_of[MAX_CPUS];
static volatile unsigned online = 1;
static void (*volatile work_of[MAX_CPUS])(unsigned cpu);

unsigned cpu_index(void)
{
	return index_of[lapic_id()];
}

/* One CPU at a time, so that they can share the variable for the stack. */
static void start(uint8_t apic_id)
{
	const unsigned index = online;

	index_of[apic_id] = index;
	apic_id_of[index] = apic_id;
	secondary_stack = (uint64_t)stacks[index] + STACK_SIZE;

	/* The second SIPI is for CPUs that missed the first (Intel SDM vol. 3, 9.4.4). */
	lapic_send_init(apic_id);
	sleep_us(10000);
	lapic_send_startup(apic_id, TRAMPOLINE_ADDRESS >> 12);
	if (wait_event(online > index, 1000))
		return;
	lapic_send_startup(apic_id, TRAMPOLINE_ADDRESS >> 12);
	if (!wait_event(online > index, START_LIMIT_US))
		panic("the CPU with APIC id %u does not start", apic_id);
}

unsigned cpus_running(void)
{
	return online;
}

void smp_start(void)
{
	const uint8_t self = lapic_id();

	index_of[self] = 0;
	apic_id_of[0] = self;
	if (!boot_is_ram(TRAMPOLINE_ADDRESS, 4096))
		panic("no RAM at 0x%x for the trampoline", TRAMPOLINE_ADDRESS);
	memcpy((void *)TRAMPOLINE_ADDRESS, trampoline, trampoline_end - trampoline);
	for (unsigned i = 0; i < platform.cpus; i++)
		if (platform.apic_ids[i] != self)
			start(platform.apic_ids[i]);
}

_Noreturn void secondary_start(void)
{
	unsigned index;

	idt_load();
	lapic_enable();
	index = cpu_index();
	online = index + 1;
	for (;;) {
		irq_disable();
		if (!work_of[index]) {
			irq_enable_and_halt();
			continue;
		}
		irq_enable();
		work_of[index](index);
		work_of[index] = NULL;
	}
}

void smp_run(void (*work)(unsigned cpu))
{
	for (unsigned cpu = 1; cpu < online; cpu++) {
		work_of[cpu] = work;
		lapic_send_interrupt(apic_id_of[cpu], VECTOR_WAKE);
	}
	work(0);
	for (unsigned cpu = 1; cpu < online; cpu++)
		while (work_of[cpu])
			cpu_pause();
}
