// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "controller.h"

#include <stddef.h>

#include "nvme.h"
#include "pci_bar.h"
#include "registers.h"
#include "string.h"
#include "time.h"

#define ENTRIES		8	/* of each queue */
#define ADMIN		0

struct command {
	uint8_t opcode;
	uint8_t flags;
	uint16_t id;
	uint32_t namespace;
	uint64_t reserved, metadata;
	uint64_t data;
	uint64_t data2;
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};

struct completion {
	uint32_t result, reserved;
	uint16_t sq_head, sq_id, id;
	uint16_t status;		/* bit 0: the phase */
};

static struct command commands[QUEUES][PAGE_SIZE / sizeof(struct command)]
	__attribute__((aligned(PAGE_SIZE)));
static volatile struct completion completions[QUEUES][PAGE_SIZE / sizeof(struct completion)]
	__attribute__((aligned(PAGE_SIZE)));
static uint8_t data[QUEUES][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

bool nvme_find(struct nvme *nvme)
{
	for (unsigned i = 0; i < pci_function_count; i++) {
		const struct pci_function *f = &pci_functions[i];
		struct pci_bar bar;

		if (f->class_code != NVME_CLASS_CODE)
			continue;
		nvme->function = f;
		bar = pci_bar_enable(f, NVME_BAR);
		nvme->registers = pci_bar_memory(&bar);
		pci_command(f, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 0);
		nvme->stride = 4u << CAP_DSTRD(mmio_read64(nvme->registers, NVME_CAP));
		return true;
	}
	return false;
}

static void ring(const struct nvme *nvme, unsigned queue, bool completion, unsigned value)
{
	const unsigned doorbell = 2 * queue + completion;

	mmio_write32(nvme->registers, NVME_DOORBELLS + doorbell * nvme->stride, value);
}

static void submit(struct nvme *nvme, unsigned queue, struct command command)
{
	struct nvme_queue *q = &nvme->queues[queue];

	commands[queue][q->tail] = command;
	q->tail = (q->tail + 1) % ENTRIES;
	ring(nvme, queue, false, q->tail);
}

bool nvme_completed(const struct nvme *nvme, unsigned queue)
{
	const struct nvme_queue *q = &nvme->queues[queue];

	return (completions[queue][q->head].status & 1) == q->phase;
}

bool nvme_take(struct nvme *nvme, unsigned queue)
{
	struct nvme_queue *q = &nvme->queues[queue];
	uint16_t status;

	if (!nvme_completed(nvme, queue))
		return false;
	status = completions[queue][q->head].status;
	q->head = (q->head + 1) % ENTRIES;
	if (!q->head)
		q->phase ^= 1;
	ring(nvme, queue, true, q->head);
	return !(status >> 1);
}

static bool admin(struct nvme *nvme, struct command command)
{
	submit(nvme, ADMIN, command);
	return wait_event(nvme_completed(nvme, ADMIN), LIMIT_US) && nvme_take(nvme, ADMIN);
}

static void reset_queue(struct nvme *nvme, unsigned queue)
{
	nvme->queues[queue] = (struct nvme_queue){.phase = 1};
	memset((void *)completions[queue], 0, PAGE_SIZE);
}

static bool create_queue(struct nvme *nvme, unsigned queue, unsigned vector)
{
	const uint32_t size = (ENTRIES - 1) << 16 | queue;

	reset_queue(nvme, queue);
	return admin(nvme, (struct command){
		.opcode = ADMIN_CREATE_CQ, .data = (uint64_t)completions[queue], .cdw10 = size,
		.cdw11 = vector << 16 | QUEUE_INTERRUPTS | QUEUE_CONTIGUOUS,
	}) && admin(nvme, (struct command){
		.opcode = ADMIN_CREATE_SQ, .data = (uint64_t)commands[queue], .cdw10 = size,
		.cdw11 = queue << 16 | QUEUE_CONTIGUOUS,
	});
}

static bool identify_namespace(struct nvme *nvme)
{
	const uint8_t *format;

	if (!admin(nvme, (struct command){
		.opcode = ADMIN_IDENTIFY, .namespace = 1, .data = (uint64_t)data[ADMIN],
	}))
		return false;
	format = data[ADMIN] + IDENTIFY_FORMATS + 4 * (data[ADMIN][IDENTIFY_FLBAS] & 0xf);
	nvme->blocks_per_page = PAGE_SIZE >> format[2];
	return nvme->blocks_per_page;
}

bool nvme_is_on(const struct nvme *nvme)
{
	return mmio_read32(nvme->registers, NVME_CSTS) & CSTS_READY;
}

static bool start(struct nvme *nvme, unsigned queues, enum nvme_vectors vectors)
{
	reset_queue(nvme, ADMIN);
	mmio_write32(nvme->registers, NVME_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	mmio_write64(nvme->registers, NVME_ASQ, (uint64_t)commands[ADMIN]);
	mmio_write64(nvme->registers, NVME_ACQ, (uint64_t)completions[ADMIN]);
	mmio_write32(nvme->registers, NVME_CC, CC_ENTRY_SIZES | CC_ENABLE);
	if (!wait_event(nvme_is_on(nvme), LIMIT_US) || !identify_namespace(nvme))
		return false;
	if (!admin(nvme, (struct command){
		.opcode = ADMIN_SET_FEATURES, .cdw10 = FEATURE_QUEUES,
		.cdw11 = (QUEUES - 2) << 16 | (QUEUES - 2),
	}))
		return false;
	for (unsigned queue = 1; queue < queues; queue++)
		if (!create_queue(nvme, queue, vectors == ONE_EACH ? queue : 0))
			return false;
	return true;
}

bool nvme_stop(struct nvme *nvme)
{
	mmio_write32(nvme->registers, NVME_CC, 0);
	return wait_event(!nvme_is_on(nvme), LIMIT_US);
}

bool nvme_start(struct nvme *nvme, unsigned queues, enum nvme_vectors vectors)
{
	if (start(nvme, queues, vectors))
		return true;
	nvme_stop(nvme);
	return false;
}

void nvme_submit(struct nvme *nvme, unsigned queue, uint32_t page)
{
	struct command command = {.data = (uint64_t)data[queue]};

	memset(data[queue], 0, PAGE_SIZE);
	if (queue == ADMIN) {
		command.opcode = ADMIN_IDENTIFY;
		command.cdw10 = 1;	/* the controller */
	} else {
		command.opcode = READ;
		command.namespace = 1;
		command.cdw10 = page * nvme->blocks_per_page;
		command.cdw12 = nvme->blocks_per_page - 1;
	}
	submit(nvme, queue, command);
}

const uint8_t *nvme_data(unsigned queue)
{
	return data[queue];
}
