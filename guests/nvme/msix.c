// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msix.h"

#include <stddef.h>

#include "check.h"
#include "interrupt.h"
#include "lapic.h"
#include "nvme.h"
#include "time.h"

#define GROWING 12

static struct msix msix;
static uint8_t first_vector;

static unsigned count(unsigned queue)
{
	return interrupt_count(first_vector + queue);
}

static void forget_counts(void)
{
	for (unsigned queue = 0; queue < QUEUES; queue++)
		interrupt_handle(first_vector + queue, NULL);
}

/* Let a queue work, and take what comes of it, whether an interrupt tells of it or not. */
static bool use(struct nvme *nvme, unsigned queue)
{
	nvme_submit(nvme, queue, queue);
	return wait_event(nvme_completed(nvme, queue), LIMIT_US) && nvme_take(nvme, queue);
}

static void check_count(unsigned queue, unsigned expected, const char *when)
{
	wait_event(count(queue) >= expected, LIMIT_US);
	sleep_us(QUIET_US);
	check_equal(count(queue), expected, "%s: vector %u has come %u time%s", when, queue,
		    expected, expected == 1 ? "" : "s");
}

static void check_held_back(unsigned queue, unsigned expected, const char *when)
{
	check(wait_event(msix_pending(&msix, queue), LIMIT_US), "%s: vector %u is pending", when,
	      queue);
	sleep_us(QUIET_US);
	check_equal(count(queue), expected, "%s: vector %u is held back", when, queue);
}

/* As Linux does it: entries first, behind the function mask, then their own masks. */
static void enable_all(void)
{
	msix_enable_masked(&msix);
	for (unsigned queue = 0; queue < QUEUES; queue++)
		msix_set_entry(&msix, queue, first_vector + queue, lapic_id());
	msix_set_function_mask(&msix, false);
	for (unsigned queue = 0; queue < QUEUES; queue++)
		msix_set_mask(&msix, queue, false);
}

/* From the start: the device itself has it pending, for nobody has used the vector yet. */
static void test_pending_at_first(struct nvme *nvme)
{
	forget_counts();
	msix_enable_masked(&msix);
	for (unsigned queue = 0; queue < 2; queue++) {
		msix_set_entry(&msix, queue, first_vector + queue, lapic_id());
		msix_set_mask(&msix, queue, false);
	}
	if (!check(nvme_start(nvme, 2, ONE_EACH), "2 queues are made behind the function mask"))
		return;
	check(!msix_pending(&msix, 1), "nothing is pending yet");
	use(nvme, 1);
	check_held_back(1, 0, "function masked from the start");
	msix_set_function_mask(&msix, false);
	check_count(1, 1, "function unmasked");
	check(!msix_pending(&msix, 1), "and is no longer pending");
	nvme_stop(nvme);
	msix_disable(&msix);
}

static void test_each(struct nvme *nvme)
{
	unsigned used = 0, right = 0;

	forget_counts();
	for (unsigned queue = 0; queue < QUEUES; queue++)
		used += use(nvme, queue);
	check_equal(used, QUEUES, "each of %u queues has worked", QUEUES);
	wait_event(count(QUEUES - 1) >= 1, LIMIT_US);
	sleep_us(QUIET_US);
	for (unsigned queue = 0; queue < QUEUES; queue++)
		right += count(queue) == 1;
	check_equal(right, QUEUES, "each vector has come once");
}

static void test_masks(struct nvme *nvme)
{
	forget_counts();
	msix_set_mask(&msix, 5, true);
	use(nvme, 5);
	use(nvme, 5);
	check_held_back(5, 0, "vector masked");
	use(nvme, 6);
	check_count(6, 1, "its neighbour");
	msix_set_mask(&msix, 5, false);
	check_count(5, 1, "vector unmasked");
	check(!msix_pending(&msix, 5), "and is no longer pending");

	msix_set_function_mask(&msix, true);
	use(nvme, 3);
	use(nvme, 32);
	check_held_back(3, 0, "function masked");
	check_held_back(32, 0, "function masked");
	msix_set_mask(&msix, 3, true);
	msix_set_function_mask(&msix, false);
	check_count(32, 1, "function unmasked");
	check_held_back(3, 0, "function unmasked, vector masked");
	msix_set_mask(&msix, 3, false);
	check_count(3, 1, "both unmasked");
}

/* Masked in the midst of many: of each interrupt the guest hears, sooner or later. */
static void test_masking_in_a_storm(struct nvme *nvme)
{
	unsigned heard = 0;

	forget_counts();
	for (unsigned i = 0; i < 50; i++) {
		const unsigned before = count(7);

		nvme_submit(nvme, 7, i);
		msix_set_mask(&msix, 7, true);
		msix_set_mask(&msix, 7, false);
		wait_event(nvme_completed(nvme, 7), LIMIT_US);
		nvme_take(nvme, 7);
		heard += wait_event(count(7) > before, LIMIT_US);
	}
	check_equal(heard, 50, "masked and unmasked while it comes: none of 50 is lost");
}

static void test_retarget(struct nvme *nvme)
{
	forget_counts();
	msix_set_entry(&msix, 8, first_vector + 9, lapic_id());
	msix_set_mask(&msix, 8, false);
	use(nvme, 8);
	check_count(9, 1, "8 sent to the handler of 9");
	msix_set_entry(&msix, 8, first_vector + 8, lapic_id());
	msix_set_mask(&msix, 8, false);
	use(nvme, 8);
	check_count(8, 1, "8 sent back");
}

void test_msix(struct nvme *nvme)
{
	check_section("MSI-X");
	if (!check(msix_init(&msix, nvme->function) && msix.vectors >= QUEUES,
		   "there are %u vectors at least", QUEUES))
		return;
	msix_map(&msix);
	first_vector = vectors_allocate(64);
	test_pending_at_first(nvme);
	forget_counts();
	enable_all();
	if (check(nvme_start(nvme, QUEUES, ONE_EACH), "%u queues are made", QUEUES)) {
		sleep_us(QUIET_US);
		test_each(nvme);
		test_masks(nvme);
		test_masking_in_a_storm(nvme);
		test_retarget(nvme);
	}
	nvme_stop(nvme);
	msix_disable(&msix);
}

/*
 * One vector after the other, with the function unmasked. Where the host can't just add one, all
 * go off for a moment, and those that were there come once more, lest one was lost: so there may
 * be more interrupts than causes, and never fewer.
 */
void test_msix_growing(struct nvme *nvme)
{
	unsigned late = 0;

	if (!msix.table)
		return;
	check_section("MSI-X, one vector after the other");
	forget_counts();
	for (unsigned queue = 0; queue < QUEUES; queue++)
		msix_set_mask(&msix, queue, true);
	msix_enable(&msix);
	if (!check(nvme_start(nvme, GROWING, ONE_EACH), "%u queues are made", GROWING))
		return;
	for (unsigned queue = 0; queue < GROWING; queue++) {
		msix_set_entry(&msix, queue, first_vector + queue, lapic_id());
		msix_set_mask(&msix, queue, false);
		for (unsigned old = 0; old <= queue; old++) {
			const unsigned before = count(old);

			use(nvme, old);
			late += !wait_event(count(old) > before, LIMIT_US);
		}
	}
	check_equal(late, 0, "those that are there come, and none is missing");
	nvme_stop(nvme);
	msix_disable(&msix);
}
