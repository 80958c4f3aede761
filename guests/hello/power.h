/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef POWER_H
#define POWER_H

/* Switch the machine off (poweroff), or reset it (reset=i8042, cf9 or acpi). */
_Noreturn void power(void);

#endif
