/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef IRQLAT_ENTRY_H
#define IRQLAT_ENTRY_H

#include <stdint.h>

/* The interrupt gate: writes to HARMLESS_PORT before anything else, and counts. */
void irqlat_entry(void);

extern volatile uint32_t irqlat_count;
extern uint64_t irqlat_eoi_register;

#endif
