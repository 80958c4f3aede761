/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The few static ACPI tables that need no AML: MADT, MCFG, FADT. */
#ifndef ACPI_H
#define ACPI_H

#include <stdbool.h>

/* Fill `platform` from the tables under boot_rsdp; false if there is no valid MADT. */
bool acpi_read_tables(void);

#endif
