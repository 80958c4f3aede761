// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* One interrupt line and two devices: a handler looks at both, and both are heard. */
#include "nvme.h"

#include "check.h"
#include "interrupt.h"
#include "intx.h"
#include "lapic.h"
#include "panic.h"
#include "pci_bar.h"
#include "time.h"

#define QUEUE		1

#define EDU_VENDOR_ID	0x1234
#define EDU_DEVICE_ID	0x11e8
#define EDU_IRQ_STATUS	0x24
#define EDU_IRQ_RAISE	0x60
#define EDU_IRQ_ACK	0x64

/* For the handler. */
static struct nvme *controller;
static mmio_t edu;
static volatile unsigned by_nvme, by_edu;
static volatile unsigned ack_after;	/* edu's is acknowledged from this many on */

static void on_interrupt(uint8_t vector)
{
	const uint32_t status = mmio_read32(edu, EDU_IRQ_STATUS);

	(void)vector;
	if (status && ++by_edu >= ack_after)
		mmio_write32(edu, EDU_IRQ_ACK, status);
	by_nvme += nvme_take(controller, QUEUE);
}

static void expect(unsigned acknowledge_after)
{
	by_nvme = by_edu = 0;
	ack_after = acknowledge_after;
}

static void check_heard(unsigned nvme, unsigned other, const char *when)
{
	wait_event(by_nvme >= nvme && by_edu >= other, LIMIT_US);
	sleep_us(QUIET_US);
	check_equal(by_nvme, nvme, "%s: NVMe is heard %u time%s", when, nvme, nvme == 1 ? "" : "s");
	check_equal(by_edu, other, "%s: edu is heard %u time%s", when, other,
		    other == 1 ? "" : "s");
}

void test_shared_line(struct nvme *nvme)
{
	const struct pci_function *f = nvme->function;
	const struct pci_function *neighbour = pci_find(EDU_VENDOR_ID, EDU_DEVICE_ID);
	const uint8_t vector = vectors_allocate(1);
	struct pci_bar bar;

	check_section("a shared line");
	if (!neighbour)
		panic("no edu device to share a line with");
	if (!check_equal(pci_read8(neighbour, PCI_INTERRUPT_LINE), pci_read8(f, PCI_INTERRUPT_LINE),
			 "NVMe and edu have the same line"))
		return;
	bar = pci_bar_enable(neighbour, 0);
	edu = pci_bar_memory(&bar);
	controller = nvme;
	if (!check(nvme_start(nvme, QUEUE + 1, ALL_ZERO), "NVMe starts"))
		return;
	interrupt_handle(vector, on_interrupt);
	intx_enable(neighbour, vector, lapic_id());
	intx_enable(f, vector, lapic_id());

	expect(1);
	mmio_write32(edu, EDU_IRQ_RAISE, 1);
	check_heard(0, 1, "edu alone");
	expect(1);
	nvme_submit(nvme, QUEUE, 0);
	check_heard(1, 0, "NVMe alone");

	for (unsigned i = 0; i < 3; i++) {
		expect(1);
		nvme_submit(nvme, QUEUE, i);
		mmio_write32(edu, EDU_IRQ_RAISE, 1);
		check_heard(1, 1, "both");
	}
	expect(4);
	mmio_write32(edu, EDU_IRQ_RAISE, 1);
	nvme_submit(nvme, QUEUE, 1);
	check_heard(1, 4, "edu acknowledged by the fourth handler");

	expect(1);
	intx_set_pin_mask(f, true);
	mmio_write32(edu, EDU_IRQ_RAISE, 1);
	nvme_submit(nvme, QUEUE, 2);
	wait_event(nvme_completed(nvme, QUEUE), LIMIT_US);
	check(intx_pending(f) && intx_pending(neighbour), "behind a masked pin both assert it");
	check_heard(0, 0, "behind a masked pin");
	intx_set_pin_mask(f, false);
	check_heard(1, 1, "unmasked");

	expect(1);
	pci_command(neighbour, PCI_COMMAND_INTX_DISABLE, 0);
	mmio_write32(edu, EDU_IRQ_RAISE, 1);
	check_heard(0, 0, "edu's disabled");
	nvme_submit(nvme, QUEUE, 3);
	wait_event(by_nvme == 1, LIMIT_US);
	check(intx_pending(neighbour) || by_edu, "edu's status bit is set all the same");
	check_equal(by_nvme, 1, "edu's disabled: NVMe is heard");
	pci_command(neighbour, 0, PCI_COMMAND_INTX_DISABLE);
	mmio_write32(edu, EDU_IRQ_RAISE, 1);
	wait_event(by_edu, LIMIT_US);
	check(by_edu, "edu's enabled again: it is heard");

	/* Raised twice, it may be heard twice, the second time just now. */
	wait_event(!intx_pending(f) && !intx_pending(neighbour), LIMIT_US);
	check(!intx_pending(f) && !intx_pending(neighbour), "then nobody asserts it");
	intx_disable(f);
	intx_disable(neighbour);
	nvme_stop(nvme);
}
