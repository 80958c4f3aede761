/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * An NVMe controller with an admin queue and as many I/O queues as a test wants. Nothing here
 * waits for an interrupt, so that tests can count them.
 */
#ifndef CONTROLLER_H
#define CONTROLLER_H

#include <stdbool.h>
#include <stdint.h>

#include "mmio.h"
#include "pci.h"

#define QUEUES		33	/* the admin queue, 0, included */
#define PAGE_SIZE	4096

struct nvme_queue {
	unsigned tail;			/* of the commands */
	unsigned head;			/* of the completions */
	unsigned phase;			/* of the next completion */
};

struct nvme {
	const struct pci_function *function;
	mmio_t registers;
	unsigned stride;		/* bytes from one doorbell to the next */
	uint32_t blocks_per_page;
	struct nvme_queue queues[QUEUES];
};

/* The first controller, with its BAR and DMA switched on and INTx off; false if there is none. */
bool nvme_find(struct nvme *nvme);

/* Which vector queue `i` sends. With INTx there is only the line. */
enum nvme_vectors {
	ALL_ZERO,
	ONE_EACH,			/* i */
};

/*
 * Switch it on, with the admin queue and `queues` - 1 I/O queues; false if it fails, and then it
 * is off.
 */
bool nvme_start(struct nvme *nvme, unsigned queues, enum nvme_vectors vectors);

/* Switch it off, which a reset of the controller does, queues and all. */
bool nvme_stop(struct nvme *nvme);

bool nvme_is_on(const struct nvme *nvme);

/* Have an I/O queue read a page of the disk, or the admin queue identify the controller. */
void nvme_submit(struct nvme *nvme, unsigned queue, uint32_t page);

/* Is there a completion that was not taken? Any that is tells the data's fate, too. */
bool nvme_completed(const struct nvme *nvme, unsigned queue);

/* Take one; false if there is none, or it tells of an error. */
bool nvme_take(struct nvme *nvme, unsigned queue);

/* What the last command of a queue has read. */
const uint8_t *nvme_data(unsigned queue);

#endif
