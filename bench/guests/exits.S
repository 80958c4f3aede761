/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * COUNT trapped reads, between an S and an E on the serial line: of port PORT, or, if MMIO_GPA
 * is defined, of four bytes at that guest-physical address.
 */
#include "firmware.h"

#define WARM_UP	500

	.macro	reads count
	movl	$\count, %ecx
1:
#ifdef MMIO_GPA
	addr32 movl MMIO_GPA, %eax
#else
	inb	$PORT, %al
#endif
	addr32 loop 1b
	.endm

start:
	reads	WARM_UP
	serial_byte 'S'
	reads	COUNT
	serial_byte 'E'
	exit_guest
	reset_vector
