/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The storms, and how they report. Each does `n` operations. */
#ifndef STORM_H
#define STORM_H

#include <stdint.h>

/* An ISA port with nothing behind it but the POST code display. */
#define HARMLESS_PORT	0x80

/* How long anything that is waited for may take. */
#define LIMIT_US	10000000ull

void storm_pio(unsigned n);
void storm_hole(unsigned n);
void storm_mmio(unsigned n);
void storm_mapped(unsigned n);
void storm_irq(unsigned n);
void storm_smp(unsigned n);
void storm_irqlat(unsigned n);

/* Print "storm mode=.. target=.. op=.. n=.. cycles=.. ns=.. ns_per_op=..". */
void report(const char *mode, const char *target, const char *op, unsigned n, uint64_t cycles);

#endif
