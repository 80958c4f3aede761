/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The device under test, and one function for each part of the report. */
#ifndef TESTDEV_H
#define TESTDEV_H

#include <stdbool.h>
#include <stdint.h>

#include "mmio.h"
#include "pci.h"
#include "pci_bar.h"

/* How long the device may take for anything. */
#define LIMIT_US	5000000

/* How long to wait for what must not happen. */
#define QUIET_US	20000

struct testdev {
	const struct pci_function *function;
	struct pci_bar bar0, bar1, bar2, bar4, bar5;
	mmio_t registers;		/* BAR 0 */
	uint16_t ports;			/* BAR 1 */
	mmio_t buffer;			/* BAR 2 */
	mmio_t small;			/* BAR 4 */
	mmio_t small_ram;		/* BAR 5 */
};

void test_config(const struct testdev *dev);
void test_registers(const struct testdev *dev);
void test_mapped(const struct testdev *dev);
void test_small_bars(const struct testdev *dev);
void test_rom(const struct testdev *dev);
void test_relocation(const struct testdev *dev);
void test_power(const struct testdev *dev);
void test_reset(const struct testdev *dev);
void test_doorbell(const struct testdev *dev);
void test_msix(const struct testdev *dev);
void test_msi(const struct testdev *dev);
void test_intx(const struct testdev *dev);
void test_switching(const struct testdev *dev);
void test_dma(const struct testdev *dev);

#endif
