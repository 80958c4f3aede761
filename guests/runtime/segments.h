/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The selectors of the one GDT (entry.S), for C and assembler. */
#ifndef SEGMENTS_H
#define SEGMENTS_H

#define CODE64_SELECTOR	0x08
#define DATA_SELECTOR	0x10
#define CODE32_SELECTOR	0x18

#endif
