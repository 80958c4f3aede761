// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * Resets the machine a number of times, with everything in it in use, and checks at each boot that
 * the machine is as it was at the first. README.md lists the options.
 */
#include "kept.h"

#include "check.h"
#include "cpu.h"
#include "interrupt.h"
#include "lapic.h"
#include "options.h"
#include "platform.h"
#include "print.h"
#include "reset.h"
#include "runtime.h"
#include "smp.h"

#define DEFAULT_TIMES	3
#define ROUNDS		50
#define HARMLESS_PORT	0x80
#define CANARY		0x600d

static volatile unsigned in_data = CANARY, in_bss;
static unsigned resetter;

/* All CPUs at once; the one that resets the machine has the others in the midst of it. */
static void rage(unsigned cpu)
{
	for (unsigned round = 0; cpu != resetter || round < ROUNDS; round++) {
		outb(HARMLESS_PORT, round);
		lapic_send_interrupt(platform.apic_ids[round % cpus_running()], VECTOR_WAKE);
	}
	machine_reset();
}

static bool check_image(void)
{
	const bool fresh = check_equal(in_data, CANARY, "the image's data is its own") &&
			   check_equal(in_bss, 0, "and what has to be zero is");

	in_data = in_bss = 1;
	return fresh;
}

int main(void)
{
	bool good;

	platform_init();
	good = count_boot() && check_image() && check_state();
	interrupts_init();
	smp_start();
	good = check_equal(cpus_running(), platform.cpus, "all CPUs can be started") && good;
	if (good && KEPT->boots <= option_number("times", DEFAULT_TIMES)) {
		resetter = option_is("from", "last") ? cpus_running() - 1 : 0;
		soil();
		smp_run(rage);
	}
	return check_result();
}
