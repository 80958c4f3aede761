/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Names of capabilities (PCI Code and ID Assignment Specification 1.15, chapters 2 and 3). */
#ifndef NAMES_H
#define NAMES_H

#include <stdint.h>

const char *capability_name(uint8_t id);
const char *extended_capability_name(uint16_t id);

#endif
