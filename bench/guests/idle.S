/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Says one byte on the serial line, then sleeps for good. */
#include "firmware.h"

start:
	serial_byte 'I'
1:	hlt
	jmp	1b
	reset_vector
