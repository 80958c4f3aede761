// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "reset.h"

#include <stdint.h>

#include "cpu.h"
#include "options.h"
#include "panic.h"
#include "platform.h"

#define I8042_COMMAND	0x64
#define I8042_RESET	0xfe		/* pulse output line 0, which is the CPU's reset */
#define RESET_CONTROL	0xcf9
#define SYSTEM_RESET	0x02
#define RESET_CPU	0x04		/* the reset happens as this bit goes from 0 to 1 */

/* An empty IDT: the exception, then the double fault, find no gate. */
_Noreturn void triple_fault(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) empty = {0, 0};

	asm volatile("lidt %0; ud2" : : "m"(empty));
	halt_forever();
}

_Noreturn void machine_reset(void)
{
	if (option_is("reset", "i8042")) {
		outb(I8042_COMMAND, I8042_RESET);
	} else if (option_is("reset", "cf9")) {
		outb(RESET_CONTROL, SYSTEM_RESET);
		outb(RESET_CONTROL, SYSTEM_RESET | RESET_CPU);
	} else if (option_is("reset", "acpi")) {
		if (!platform.reset_port)
			panic("the FADT names no reset port");
		outb(platform.reset_port, platform.reset_value);
	} else if (option_is("reset", "triple")) {
		triple_fault();
	} else {
		panic("unknown reset");
	}
	/* A reset takes effect some time after the write. */
	halt_forever();
}
