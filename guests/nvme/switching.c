// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Twenty drivers one after the other, in turn with INTx and with MSI-X. */
#include <stddef.h>

#include "check.h"
#include "interrupt.h"
#include "intx.h"
#include "lapic.h"
#include "msix.h"
#include "nvme.h"
#include "time.h"

#define DRIVERS	20
#define QUEUE	1

static struct nvme *controller;
static volatile unsigned intx_taken;

static void on_intx(uint8_t vector)
{
	(void)vector;
	intx_taken += nvme_take(controller, QUEUE);
}

static bool with_intx(struct nvme *nvme, uint8_t vector)
{
	bool came;

	intx_taken = 0;
	if (!nvme_start(nvme, QUEUE + 1, ALL_ZERO))
		return false;
	interrupt_handle(vector, on_intx);
	intx_enable(nvme->function, vector, lapic_id());
	nvme_submit(nvme, QUEUE, 0);
	came = wait_event(intx_taken == 1, LIMIT_US);
	intx_disable(nvme->function);
	return nvme_stop(nvme) && came;
}

static bool with_msix(struct nvme *nvme, const struct msix *msix, uint8_t vector)
{
	bool came;

	interrupt_handle(vector, NULL);
	msix_enable_masked(msix);
	msix_set_entry(msix, QUEUE, vector, lapic_id());
	msix_set_function_mask(msix, false);
	msix_set_mask(msix, QUEUE, false);
	if (!nvme_start(nvme, QUEUE + 1, ONE_EACH))
		return false;
	nvme_submit(nvme, QUEUE, 0);
	came = wait_event(nvme_completed(nvme, QUEUE), LIMIT_US) && nvme_take(nvme, QUEUE) &&
	       wait_event(interrupt_count(vector) == 1, LIMIT_US);
	msix_set_mask(msix, QUEUE, true);
	msix_disable(msix);
	return nvme_stop(nvme) && came;
}

void test_switching(struct nvme *nvme)
{
	const uint8_t vector = vectors_allocate(1);
	unsigned right = 0;
	struct msix msix;

	check_section("switching between interrupts");
	controller = nvme;
	if (!check(msix_init(&msix, nvme->function), "there is MSI-X"))
		return;
	msix_map(&msix);
	for (unsigned i = 0; i < DRIVERS; i++)
		right += i % 2 ? with_msix(nvme, &msix, vector) : with_intx(nvme, vector);
	check_equal(right, DRIVERS, "%u drivers, in turn with INTx and MSI-X", DRIVERS);
}
