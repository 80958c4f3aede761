// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * To be preloaded (LD_PRELOAD) into a program that uses VFIO: notes each VFIO_IOMMU_MAP_DMA.
 *
 * Every one that succeeds adds a line to the file $MAP_TIMES: its bytes, and how many nanoseconds
 * it took, of which the note is no part. All other ioctls go straight through.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static void note(uint64_t size, uint64_t ns)
{
	const char *path = getenv("MAP_TIMES");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		abort();
	dprintf(fd, "%llu %llu\n", (unsigned long long)size, (unsigned long long)ns);
	close(fd);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;
	uint64_t start;
	int result;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request != VFIO_IOMMU_MAP_DMA)
		return syscall(SYS_ioctl, fd, request, argument);
	start = now_ns();
	result = syscall(SYS_ioctl, fd, request, argument);
	if (!result)
		note(((struct vfio_iommu_type1_dma_map *)argument)->size, now_ns() - start);
	return result;
}
