// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * ping_pong ASKED ANSWERED COUNT CPU: send ASKED bytes to another process, on that processor, over a
 * UNIX stream socket, and wait for ANSWERED bytes, COUNT times; prints how many nanoseconds it took.
 */
#define _GNU_SOURCE
#include <err.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_SIZE	4096
#define WARM_UP		100
#define ENDS_WITHIN_S	60

static char buffer[MAX_SIZE];

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void ask(int sock, size_t asked, size_t answered, int count)
{
	while (count--) {
		if (send(sock, buffer, asked, 0) != (ssize_t)asked)
			err(1, "send");
		if (recv(sock, buffer, answered, 0) != (ssize_t)answered)
			err(1, "recv");
	}
}

static void answer(int sock, size_t asked, size_t answered)
{
	while (recv(sock, buffer, asked, 0) > 0)
		if (send(sock, buffer, answered, 0) != (ssize_t)answered)
			err(1, "send");
}

int main(int argc, char **argv)
{
	if (argc != 5)
		errx(2, "usage: ping_pong ASKED ANSWERED COUNT CPU");
	size_t asked = atoi(argv[1]), answered = atoi(argv[2]);
	int count = atoi(argv[3]), socks[2];
	cpu_set_t cpu;
	uint64_t start;

	CPU_ZERO(&cpu);
	CPU_SET(atoi(argv[4]), &cpu);
	if (!asked || asked > MAX_SIZE || !answered || answered > MAX_SIZE)
		errx(2, "messages have 1 to %d bytes", MAX_SIZE);
	alarm(ENDS_WITHIN_S);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, socks))
		err(1, "socketpair");
	switch (fork()) {
	case -1:
		err(1, "fork");
	case 0:
		close(socks[0]);
		if (sched_setaffinity(0, sizeof(cpu), &cpu))
			err(1, "sched_setaffinity");
		answer(socks[1], asked, answered);
		return 0;
	}
	close(socks[1]);
	ask(socks[0], asked, answered, WARM_UP);
	start = now_ns();
	ask(socks[0], asked, answered, count);
	printf("%llu\n", (unsigned long long)(now_ns() - start));
	return 0;
}
