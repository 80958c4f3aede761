// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * read_disk DEVICE BLOCKS COUNT DEPTH [SIZE]: read COUNT blocks of SIZE bytes out of the first
 * BLOCKS, DEPTH at a time, past the page cache; prints how many nanoseconds it took. Blocks of 4 KiB,
 * as they are without a SIZE, are read anywhere, larger ones in sequence.
 *
 * One at a time it reads as dd does, by pread(2); several as fio does by default, by io_submit(2).
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SMALLEST	4096
#define MAX_DEPTH	256
#define ENDS_WITHIN_S	60

struct disk {
	int fd;
	size_t size; /* of a block */
	uint64_t blocks, next;
	char *buffers;
};

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static off_t next_offset(struct disk *disk)
{
	uint64_t block = disk->size == SMALLEST ? (uint64_t)random() : disk->next++;

	return block % disk->blocks * disk->size;
}

static void read_one_at_a_time(struct disk *disk, int count)
{
	while (count--)
		if (pread(disk->fd, disk->buffers, disk->size, next_offset(disk)) != (ssize_t)disk->size)
			err(1, "pread");
}

static void submit(aio_context_t context, struct disk *disk, struct iocb **requests, int n)
{
	for (int i = 0; i < n; i++)
		requests[i]->aio_offset = next_offset(disk);
	if (n && syscall(SYS_io_submit, context, n, requests) != n)
		err(1, "io_submit");
}

static void read_many_at_a_time(struct disk *disk, int count, int depth)
{
	struct iocb all[MAX_DEPTH], *requests[MAX_DEPTH];
	struct io_event events[MAX_DEPTH];
	aio_context_t context = 0;
	int left = count - depth;

	if (syscall(SYS_io_setup, depth, &context))
		err(1, "io_setup");
	for (int i = 0; i < depth; i++) {
		all[i] = (struct iocb){
			.aio_data = i,
			.aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_fildes = disk->fd,
			.aio_buf = (uintptr_t)disk->buffers + i * disk->size,
			.aio_nbytes = disk->size,
		};
		requests[i] = &all[i];
	}
	submit(context, disk, requests, depth);
	while (count) {
		int done = syscall(SYS_io_getevents, context, 1, depth, events, NULL);
		int again = done < left ? done : left;

		if (done < 0)
			err(1, "io_getevents");
		for (int i = 0; i < done; i++) {
			if (events[i].res != (int64_t)disk->size)
				errx(1, "a read ended with %lld", (long long)events[i].res);
			requests[i] = &all[events[i].data];
		}
		submit(context, disk, requests, again);
		left -= again;
		count -= done;
	}
}

int main(int argc, char **argv)
{
	if (argc != 5 && argc != 6)
		errx(2, "usage: read_disk DEVICE BLOCKS COUNT DEPTH [SIZE]");
	struct disk disk = {
		.fd = open(argv[1], O_RDONLY | O_DIRECT),
		.size = argc == 6 ? atoll(argv[5]) : SMALLEST,
		.blocks = atoll(argv[2]),
	};
	int count = atoi(argv[3]), depth = atoi(argv[4]);
	uint64_t start;

	if (disk.fd < 0)
		err(1, "open %s", argv[1]);
	if (!disk.blocks || depth < 1 || depth > MAX_DEPTH || count < depth)
		errx(2, "COUNT is to be DEPTH or more, DEPTH at most %d", MAX_DEPTH);
	if (disk.size < SMALLEST || disk.size % SMALLEST)
		errx(2, "SIZE is to be a multiple of %d", SMALLEST);
	disk.buffers = aligned_alloc(SMALLEST, depth * disk.size);
	if (!disk.buffers)
		err(1, "aligned_alloc");
	alarm(ENDS_WITHIN_S);
	start = now_ns();
	if (depth == 1)
		read_one_at_a_time(&disk, count);
	else
		read_many_at_a_time(&disk, count, depth);
	printf("%llu\n", (unsigned long long)(now_ns() - start));
	return 0;
}
