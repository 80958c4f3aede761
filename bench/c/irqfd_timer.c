// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * irqfd_timer SIGNAL ANSWER COUNT: how long from a write to one eventfd to the other's signal.
 *
 * Both are inherited, blocking, and belong to whatever VMM runs the guest between them; the same
 * program times every VMM. Prints the median of COUNT round trips in nanoseconds.
 */
#include <err.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP		100
#define READY_WITHIN_S	10
#define READY_POLL_MS	50
#define ENDS_WITHIN_S	20

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void signal_guest(int fd)
{
	if (eventfd_write(fd, 1))
		err(1, "write to the irqfd's eventfd");
}

static void take_answer(int fd)
{
	eventfd_t count;

	if (eventfd_read(fd, &count))
		err(1, "read of the ioeventfd's eventfd");
}

static int has_answered(int fd)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	int ready = poll(&pollfd, 1, READY_POLL_MS);

	if (ready < 0)
		err(1, "poll");
	return ready;
}

/* An interrupt that comes before the guest has set up its local APIC is lost: send more. */
static void await_guest(int signal, int answer)
{
	uint64_t limit = now_ns() + READY_WITHIN_S * 1000000000ull;

	do {
		if (now_ns() > limit)
			errx(1, "the guest has not answered within %d s", READY_WITHIN_S);
		signal_guest(signal);
	} while (!has_answered(answer));
	do
		take_answer(answer);
	while (has_answered(answer));
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: irqfd_timer SIGNAL ANSWER COUNT");
	int signal = atoi(argv[1]), answer = atoi(argv[2]), count = atoi(argv[3]);
	uint64_t *times = calloc(count, sizeof(*times));

	if (count <= 0 || !times)
		errx(2, "COUNT is no number of round trips: %s", argv[3]);
	alarm(ENDS_WITHIN_S);
	await_guest(signal, answer);
	for (int i = -WARM_UP; i < count; i++) {
		uint64_t start = now_ns();

		signal_guest(signal);
		take_answer(answer);
		if (i >= 0)
			times[i] = now_ns() - start;
	}
	qsort(times, count, sizeof(*times), by_value);
	printf("%llu\n", (unsigned long long)times[count / 2]);
	return 0;
}
