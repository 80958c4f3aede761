/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* CPUs and the I/O APIC from an MP table, for machines without ACPI. */
#ifndef MPTABLE_H
#define MPTABLE_H

#include <stdbool.h>

/* Fill `platform`; false if no valid MP table is found. */
bool mptable_read(void);

#endif
