/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The device under test, and one function for each part of the report. */
#ifndef EDU_H
#define EDU_H

#include <stdbool.h>
#include <stdint.h>

#include "mmio.h"
#include "pci.h"

/* How long the device may take for anything. */
#define LIMIT_US	5000000

/* How long to wait for what must not happen. */
#define QUIET_US	20000

struct edu {
	const struct pci_function *function;
	mmio_t registers;
};

void test_identity(const struct edu *edu);
void test_registers(const struct edu *edu);
void test_factorial(const struct edu *edu);
void test_dma(const struct edu *edu);

void test_msi(const struct edu *edu);
void test_intx(const struct edu *edu);

/* Start a transfer of `count` bytes between RAM and `offset` in the device's buffer. */
void dma_start(const struct edu *edu, bool to_ram, uint64_t ram, uint32_t offset, uint32_t count,
	       bool interrupt);

#endif
