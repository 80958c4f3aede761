// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "intx.h"

#include "check.h"
#include "interrupt.h"
#include "lapic.h"
#include "nvme.h"
#include "time.h"

#define QUEUE 1

/* For the handler. */
static struct nvme *controller;
static volatile unsigned take_after;	/* it takes the completion from this many interrupts on */
static volatile unsigned taken;		/* with a completion there */

/* A level on its way to the CPU is not called back: an interrupt may come without a cause. */
static void on_interrupt(uint8_t vector)
{
	(void)vector;
	if (!nvme_completed(controller, QUEUE))
		return;
	if (++taken >= take_after)
		nvme_take(controller, QUEUE);
}

static void expect(unsigned take)
{
	taken = 0;
	take_after = take;
}

static void check_taken(unsigned count, const char *what)
{
	wait_event(taken >= count, LIMIT_US);
	sleep_us(QUIET_US);
	check_equal(taken, count, "%s: %u interrupt%s", what, count, count == 1 ? "" : "s");
}

static void wait_for_completion(void)
{
	wait_event(nvme_completed(controller, QUEUE), LIMIT_US);
}

void test_intx(struct nvme *nvme)
{
	const struct pci_function *f = nvme->function;
	const uint8_t vector = vectors_allocate(1);

	check_section("INTx");
	controller = nvme;
	if (!check(nvme_start(nvme, 2, ALL_ZERO), "it starts"))
		return;
	interrupt_handle(vector, on_interrupt);
	intx_enable(f, vector, lapic_id());

	for (unsigned page = 0; page < 4; page++) {
		expect(1);
		nvme_submit(nvme, QUEUE, page);
		check_taken(1, "a page is read");
	}
	check(!intx_pending(f), "then the line is not asserted");
	expect(4);
	nvme_submit(nvme, QUEUE, 0);
	check_taken(4, "taken by the fourth handler");

	expect(1);
	intx_set_pin_mask(f, true);
	nvme_submit(nvme, QUEUE, 1);
	wait_for_completion();
	check_taken(0, "behind a masked pin");
	check(intx_pending(f), "the line is asserted");
	intx_set_pin_mask(f, false);
	check_taken(1, "unmasked");
	check(!intx_pending(f), "then the line is not asserted");

	expect(1);
	pci_command(f, PCI_COMMAND_INTX_DISABLE, 0);
	nvme_submit(nvme, QUEUE, 2);
	wait_for_completion();
	check_taken(0, "with INTx disabled in the command register");
	check(intx_pending(f), "the interrupt status bit is set all the same");
	pci_command(f, 0, PCI_COMMAND_INTX_DISABLE);
	check_taken(1, "enabled again");
	intx_disable(f);
	nvme_stop(nvme);
}
