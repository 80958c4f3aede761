// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * Exits, device accesses and interrupts, many of them: for benchmarks and for soaking.
 * README.md lists the options and the lines to parse.
 */
#include "runtime.h"

#include <stdbool.h>
#include <stddef.h>

#include "check.h"
#include "interrupt.h"
#include "options.h"
#include "panic.h"
#include "pci.h"
#include "platform.h"
#include "print.h"
#include "smp.h"
#include "storm.h"
#include "target.h"
#include "time.h"

#define DEFAULT_N 1000

void report(const char *mode, const char *name, const char *op, unsigned n, uint64_t cycles)
{
	const uint64_t ns = cycles_to_ns(cycles);

	printf("storm mode=%s target=%s op=%s n=%u cycles=%lu ns=%lu ns_per_op=%lu\n", mode, name,
	       op, n, cycles, ns, ns / n);
}

int main(void)
{
	const unsigned n = option_number("n", DEFAULT_N);
	const bool all = option_is("mode", "all") || !option_given("mode");
	bool known = false;

	if (!n)
		panic("n must not be 0");
	platform_init();
	interrupts_init();
	if (platform.cpus_left_out)
		panic("%u CPUs are left out", platform.cpus_left_out);
	smp_start();
	pci_init();
	target_init();
	printf("storm cpus=%u target=%s tsc_khz=%lu\n", cpus_running(),
	       target.name ? target.name : "none", tsc_khz);

	const struct {
		const char *mode;
		void (*run)(unsigned n);
		bool in_all;
	} storms[] = {
		{"pio", storm_pio, true},
		{"hole", storm_hole, true},
		{"mmio", storm_mmio, target.name != NULL},
		{"mapped", storm_mapped, target.mapped != NULL},
		{"irq", storm_irq, target.vectors > 0},
		{"smp", storm_smp, true},
		{"irqlat", storm_irqlat, false},	/* waits for the host */
	};

	for (unsigned i = 0; i < sizeof(storms) / sizeof(storms[0]); i++) {
		if (!(all ? storms[i].in_all : option_is("mode", storms[i].mode)))
			continue;
		storms[i].run(n);
		known = true;
	}
	if (!known)
		panic("unknown mode");
	return check_result();
}
