// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * All CPUs at once: port writes, register reads, interrupts to the next CPU, and, if the device
 * has enough vectors, device interrupts, each CPU with a vector of its own.
 */
#include "smp.h"

#include "check.h"
#include "cpu.h"
#include "interrupt.h"
#include "lapic.h"
#include "platform.h"
#include "print.h"
#include "storm.h"
#include "target.h"
#include "time.h"

/* Each CPU's own, on its own cache line. */
static struct {
	unsigned ipis;			/* received */
	unsigned irqs;
	unsigned lost;			/* did not come in time */
	uint8_t apic_id;
} __attribute__((aligned(64))) cpus[MAX_CPUS];

static unsigned rounds, cpu_count;
static uint8_t ipi_vector, irq_vector;
static bool device_interrupts;

static unsigned after(unsigned cpu)
{
	return cpu + 1 < cpu_count ? cpu + 1 : 0;
}

static unsigned before(unsigned cpu)
{
	return cpu ? cpu - 1 : cpu_count - 1;
}

/* The sender sleeps until it sees the count go up, so wake it to look. */
static void on_ipi(uint8_t vector)
{
	const unsigned cpu = cpu_index();

	(void)vector;
	__atomic_fetch_add(&cpus[cpu].ipis, 1, __ATOMIC_SEQ_CST);
	lapic_send_interrupt(cpus[before(cpu)].apic_id, VECTOR_WAKE);
}

static void on_irq(uint8_t vector)
{
	(void)vector;
	__atomic_fetch_add(&cpus[cpu_index()].irqs, 1, __ATOMIC_SEQ_CST);
}

static bool reaches(const unsigned *counter, unsigned value)
{
	return wait_event_ticking(__atomic_load_n(counter, __ATOMIC_SEQ_CST) >= value, LIMIT_US);
}

static void note_apic_id(unsigned cpu)
{
	cpus[cpu].apic_id = lapic_id();
	if (device_interrupts)
		target_enable_interrupt(cpu, irq_vector, cpus[cpu].apic_id);
}

static void rage(unsigned cpu)
{
	const unsigned next = after(cpu);

	tick_start();
	for (unsigned round = 1; round <= rounds; round++) {
		outb(HARMLESS_PORT, round);
		if (target.name)
			mmio_read32(target.registers, target.scratch);
		lapic_send_interrupt(cpus[next].apic_id, ipi_vector);
		if (!reaches(&cpus[next].ipis, round))
			cpus[cpu].lost++;
		if (!device_interrupts)
			continue;
		target_raise(cpu);
		if (!reaches(&cpus[cpu].irqs, round))
			cpus[cpu].lost++;
	}
	tick_stop();
}

void storm_smp(unsigned n)
{
	uint64_t start;

	rounds = n;
	cpu_count = cpus_running();
	device_interrupts = target.vectors >= cpu_count;
	ipi_vector = vectors_allocate(1);
	irq_vector = vectors_allocate(1);
	interrupt_handle(ipi_vector, on_ipi);
	interrupt_handle(irq_vector, on_irq);
	smp_run(note_apic_id);

	start = rdtsc();
	smp_run(rage);
	report("smp", target.name ? target.name : "none", "round", n, rdtsc() - start);
	for (unsigned cpu = 0; cpu < cpu_count; cpu++) {
		printf("storm mode=smp cpu=%u ipis=%u irqs=%u lost=%u\n", cpu, cpus[cpu].ipis,
		       cpus[cpu].irqs, cpus[cpu].lost);
		check(cpus[cpu].ipis == n && !cpus[cpu].lost &&
		      cpus[cpu].irqs == (device_interrupts ? n : 0),
		      "smp: CPU %u took all its interrupts", cpu);
	}
}
