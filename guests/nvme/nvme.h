/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* One function for each part of the report. Each finds the controller off, and leaves it so. */
#ifndef NVME_H
#define NVME_H

#include "controller.h"

/* How long the device may take for anything. */
#define LIMIT_US	10000000

/* How long to wait for what must not happen. */
#define QUIET_US	200000

void test_reset(struct nvme *nvme);
void test_polling(struct nvme *nvme);
void test_msix(struct nvme *nvme);
void test_msix_growing(struct nvme *nvme);
void test_intx(struct nvme *nvme);
void test_switching(struct nvme *nvme);

/* With an edu device on the same interrupt line; panics if there is none. */
void test_shared_line(struct nvme *nvme);

#endif
