// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * map_dma GROUP SIZE BACKING: map SIZE bytes of new memory at IOVA 4 GiB, by the bare ioctl.
 *
 * The memory is what pyvmm and QEMU give a guest as RAM: a memfd, of which no page is there yet,
 * and which is asked to be of huge pages if BACKING is "thp", and is if it is "hugetlb". Times
 * nothing itself: that does map_times.c, for all alike.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define IOVA	(4ull << 30)

static int open_container(const char *path)
{
	int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	int group = open(path, O_RDWR | O_CLOEXEC);

	if (container < 0)
		err(1, "open /dev/vfio/vfio");
	if (group < 0)
		err(1, "open %s", path);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		err(1, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		err(1, "VFIO_SET_IOMMU");
	return container;
}

static void *new_memory(size_t size, const char *backing)
{
	unsigned int flags = strcmp(backing, "hugetlb") ? 0 : MFD_HUGETLB | MFD_HUGE_2MB;
	int fd = memfd_create("ram", MFD_CLOEXEC | flags);
	void *memory;

	if (fd < 0)
		err(1, "memfd_create");
	if (ftruncate(fd, size))
		err(1, "ftruncate");
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	if (!strcmp(backing, "thp") && madvise(memory, size, MADV_HUGEPAGE))
		err(1, "madvise");
	return memory;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: map_dma GROUP SIZE BACKING");
	size_t size = strtoull(argv[2], NULL, 0);
	int container = open_container(argv[1]);
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)new_memory(size, argv[3]),
		.iova = IOVA,
		.size = size,
	};

	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
		err(1, "VFIO_IOMMU_MAP_DMA");
	return 0;
}
