// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* What MSI and INTx have in common, then what only one of them does. */
#include "edu.h"

#include <stddef.h>

#include "check.h"
#include "interrupt.h"
#include "intx.h"
#include "lapic.h"
#include "msi.h"
#include "registers.h"
#include "time.h"

static uint32_t dma_target[16];

/* For the handler. */
static mmio_t registers;
static volatile uint32_t last_status;	/* what it read from EDU_IRQ_STATUS */
static volatile unsigned ack_after;	/* it acknowledges from this many interrupts on */
static volatile unsigned taken;		/* with a cause in the status */

/*
 * An INTx handler must put up with interrupts that have no cause: a level already on its way to
 * the CPU is not called back when the line falls. They are not counted.
 */
static void on_interrupt(uint8_t vector)
{
	const uint32_t status = mmio_read32(registers, EDU_IRQ_STATUS);

	(void)vector;
	if (!status)
		return;
	last_status = status;
	if (++taken >= ack_after)
		mmio_write32(registers, EDU_IRQ_ACK, status);
}

static void expect(unsigned acknowledge_after)
{
	last_status = 0;
	taken = 0;
	ack_after = acknowledge_after;
}

/* Exactly `count` interrupts: they come in time, and then no more. */
static void check_taken(unsigned count, const char *what)
{
	wait_event(taken >= count, LIMIT_US);
	sleep_us(QUIET_US);
	check_equal(taken, count, "%s: %u interrupt%s", what, count, count == 1 ? "" : "s");
}

static void test_each_cause(const struct edu *edu)
{
	expect(1);
	mmio_write32(registers, EDU_IRQ_RAISE, 0x40);
	check_taken(1, "raised by register");
	check_equal(last_status, 0x40, "its status is 0x40");
	check_equal(mmio_read32(registers, EDU_IRQ_STATUS), 0, "acknowledged, the status is 0");

	expect(1);
	mmio_write32(registers, EDU_STATUS, STATUS_FACTORIAL_IRQ);
	check_equal(mmio_read32(registers, EDU_STATUS) & STATUS_FACTORIAL_IRQ,
		    STATUS_FACTORIAL_IRQ, "the factorial interrupt is switched on");
	mmio_write32(registers, EDU_FACTORIAL, 5);
	check_taken(1, "factorial");
	check_equal(last_status, IRQ_FACTORIAL, "its status is 0x1");
	check_equal(mmio_read32(registers, EDU_FACTORIAL), 120, "5! is 120");
	mmio_write32(registers, EDU_STATUS, 0);
	check_equal(mmio_read32(registers, EDU_STATUS), 0,
		    "the factorial interrupt is switched off");

	expect(1);
	for (unsigned i = 0; i < 16; i++)
		dma_target[i] = 0xdead0000 + i;
	dma_start(edu, false, (uint64_t)dma_target, 0x200, sizeof(dma_target), true);
	check_taken(1, "DMA to the device");
	check_equal(last_status, IRQ_DMA, "its status is 0x100");

	expect(1);
	for (unsigned i = 0; i < 16; i++)
		dma_target[i] = 0;
	dma_start(edu, true, (uint64_t)dma_target, 0x200, sizeof(dma_target), true);
	check_taken(1, "DMA from the device");
	check_equal(last_status, IRQ_DMA, "its status is 0x100");
	check(dma_target[0] == 0xdead0000 && dma_target[15] == 0xdead000f, "the data is there");

	expect(1);
	mmio_write32(registers, EDU_IRQ_RAISE, 0);
	check_taken(0, "raised with no bit set");
}

void test_msi(const struct edu *edu)
{
	const uint8_t vector = vectors_allocate(1);
	struct msi msi;

	check_section("MSI");
	registers = edu->registers;
	if (!check(msi_init(&msi, edu->function), "there is a capability"))
		return;
	interrupt_handle(vector, on_interrupt);
	msi_enable(&msi, vector, 1, lapic_id());
	test_each_cause(edu);

	/* A message each time, also while the status is still set. */
	expect(3);
	mmio_write32(registers, EDU_IRQ_RAISE, 0x1);
	check_taken(1, "raised, not acknowledged");
	mmio_write32(registers, EDU_IRQ_RAISE, 0x2);
	check_taken(2, "raised once more");
	check_equal(last_status, 0x3, "the status has both");
	mmio_write32(registers, EDU_IRQ_ACK, 0x1);
	check_equal(mmio_read32(registers, EDU_IRQ_STATUS), 0x2, "one acknowledged, one is left");
	mmio_write32(registers, EDU_IRQ_ACK, 0x2);
	check_equal(mmio_read32(registers, EDU_IRQ_STATUS), 0, "both acknowledged, none is left");
	check(!intx_pending(edu->function), "INTx was never asserted");
	check_equal(interrupt_count(vector), 6, "in all: 6 messages");
	msi_disable(&msi);
}

void test_intx(const struct edu *edu)
{
	const struct pci_function *f = edu->function;
	const uint8_t vector = vectors_allocate(1);

	check_section("INTx");
	registers = edu->registers;
	interrupt_handle(vector, on_interrupt);
	intx_enable(f, vector, lapic_id());
	test_each_cause(edu);

	/* Level-triggered: while the line is asserted, each end-of-interrupt brings one more. */
	expect(4);
	mmio_write32(registers, EDU_IRQ_RAISE, 0x8);
	check_taken(4, "acknowledged by the fourth handler");
	check(!intx_pending(f), "then the line is not asserted");

	expect(1);
	intx_set_pin_mask(f, true);
	mmio_write32(registers, EDU_IRQ_RAISE, 0x10);
	mmio_write32(registers, EDU_IRQ_RAISE, 0x20);
	check_taken(0, "raised twice behind a masked pin");
	check(intx_pending(f), "the line is asserted");
	intx_set_pin_mask(f, false);
	check_taken(1, "unmasked");
	check_equal(last_status, 0x30, "its status has both causes");

	expect(1);
	intx_set_pin_mask(f, true);
	mmio_write32(registers, EDU_IRQ_RAISE, 0x10);
	mmio_write32(registers, EDU_IRQ_ACK, 0x10);
	check(!intx_pending(f), "acknowledged behind a masked pin, the line is not asserted");
	intx_set_pin_mask(f, false);
	check_taken(0, "unmasked after that");

	expect(1);
	pci_command(f, PCI_COMMAND_INTX_DISABLE, 0);
	mmio_write32(registers, EDU_IRQ_RAISE, 0x4);
	check_taken(0, "raised with INTx disabled in the command register");
	check(intx_pending(f), "the interrupt status bit is set all the same");
	pci_command(f, 0, PCI_COMMAND_INTX_DISABLE);
	check_taken(1, "enabled again");
	check_equal(mmio_read32(registers, EDU_IRQ_STATUS), 0, "acknowledged, the status is 0");
	intx_disable(f);
}
