/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A program's frame. The runtime saves what the loader said, sets up the serial port and
 * the exception handlers, calls main() with interrupts off, and exits with what it returns.
 * Everything else a program asks for itself, in this order as far as it needs it:
 * platform_init(), interrupts_init(), smp_start(), pci_init().
 */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdint.h>

int main(void);

_Noreturn void runtime_start(uint64_t start_info_address);

#endif
