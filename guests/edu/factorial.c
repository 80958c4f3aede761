// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "edu.h"

#include "check.h"
#include "registers.h"
#include "time.h"

void test_factorial(const struct edu *edu)
{
	static const struct {
		uint32_t n, factorial;
	} cases[] = {
		{0, 1}, {1, 1}, {2, 2}, {10, 3628800}, {12, 479001600},
		{13, 1932053504},	/* modulo 2^32 */
		{34, 0},		/* has 32 factors of two */
	};
	mmio_t registers = edu->registers;

	check_section("factorial by polling");
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		mmio_write32(registers, EDU_FACTORIAL, cases[i].n);
		if (!wait_event(!(mmio_read32(registers, EDU_STATUS) & STATUS_COMPUTING), LIMIT_US))
			check(false, "%u! ends", cases[i].n);
		check_equal(mmio_read32(registers, EDU_FACTORIAL), cases[i].factorial,
			    "%u! is %u", cases[i].n, cases[i].factorial);
	}
	check_equal(mmio_read32(registers, EDU_IRQ_STATUS), 0, "no interrupt is raised");
}
