// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "echo.h"

#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"
#include "interrupt.h"
#include "ioapic.h"
#include "lapic.h"
#include "platform.h"
#include "print.h"
#include "serial.h"

static volatile bool quit;

/* The line is edge-triggered: all there is must be read before it can rise again. */
static void on_receive(uint8_t vector)
{
	(void)vector;
	for (int c = serial_getc(); c >= 0; c = serial_getc()) {
		if (c == 'q')
			quit = true;
		else
			serial_putc(c);
	}
}

void echo(void)
{
	const uint8_t vector = vectors_allocate(1);

	interrupts_init();
	interrupt_handle(vector, on_receive);
	ioapic_route(platform.isa_gsi[SERIAL_IRQ], EDGE_HIGH, vector, lapic_id());
	printf("echo: q quits\n");
	serial_enable_receive_interrupt();
	for (;;) {
		irq_disable();
		if (quit)
			break;
		irq_enable_and_halt();
	}
	printf("\necho: done\n");
}
