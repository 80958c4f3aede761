/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Device memory: the identity map made uncached, and extended above 4 GiB, on demand. */
#ifndef PAGING_H
#define PAGING_H

#include <stdint.h>

#include "mmio.h"

/*
 * Map [address, address + size) uncached, in pages of 2 MiB, at its own address.
 * May be called again for the same range.
 */
mmio_t map_mmio(uint64_t address, uint64_t size);

#endif
