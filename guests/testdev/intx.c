// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "intx.h"

#include "check.h"
#include "interrupt.h"
#include "lapic.h"
#include "registers.h"
#include "testdev.h"
#include "time.h"

/* For the handler. */
static mmio_t registers;
static volatile unsigned lower_after;	/* it lowers the line from this many interrupts on */
static volatile unsigned taken;		/* with the line asserted */

/* A level on its way to the CPU is not called back: an interrupt may come without a cause. */
static void on_interrupt(uint8_t vector)
{
	(void)vector;
	if (!mmio_read32(registers, REG_INTX))
		return;
	if (++taken >= lower_after)
		mmio_write32(registers, REG_INTX, 0);
}

static void expect(unsigned lower)
{
	taken = 0;
	lower_after = lower;
}

static void check_taken(unsigned count, const char *what)
{
	wait_event(taken >= count, LIMIT_US);
	sleep_us(QUIET_US);
	check_equal(taken, count, "%s: %u interrupt%s", what, count, count == 1 ? "" : "s");
}

void test_intx(const struct testdev *dev)
{
	const struct pci_function *f = dev->function;
	const uint8_t vector = vectors_allocate(1);

	check_section("INTx");
	registers = dev->registers;
	interrupt_handle(vector, on_interrupt);
	intx_enable(f, vector, lapic_id());
	check_equal(mmio_read32(registers, REG_IRQ_MODE), MODE_INTX, "the mode is INTx");

	expect(1);
	mmio_write32(registers, REG_INTX, 1);
	check_taken(1, "asserted, lowered by the handler");
	expect(4);
	mmio_write32(registers, REG_INTX, 1);
	check_taken(4, "lowered by the fourth handler");

	expect(1);
	intx_set_pin_mask(f, true);
	mmio_write32(registers, REG_INTX, 1);
	check_taken(0, "asserted behind a masked pin");
	check(intx_pending(f), "the interrupt status bit is set");
	intx_set_pin_mask(f, false);
	check_taken(1, "unmasked");
	check(!intx_pending(f), "the interrupt status bit is clear");

	expect(1);
	pci_command(f, PCI_COMMAND_INTX_DISABLE, 0);
	mmio_write32(registers, REG_INTX, 1);
	check_taken(0, "asserted with INTx disabled in the command register");
	pci_command(f, 0, PCI_COMMAND_INTX_DISABLE);
	check_taken(1, "enabled again");
	intx_disable(f);
}
