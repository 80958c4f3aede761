/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Waits for interrupts of vector VECTOR, and answers each with a write to port PORT. */
#include "firmware.h"

#define RAM_GPA		0x1000	/* where the code goes: real mode can't return into the ROM */
#define RAM(label)	(RAM_GPA + ((label) - code))
#define LAPIC_SPURIOUS	0xfee000f0
#define LAPIC_EOI	0xfee000b0
#define LAPIC_ENABLE	0x1ff
#define PIC1_MASK_PORT	0x21
#define PIC2_MASK_PORT	0xa1

code:
handler:
	outb	%al, $PORT
	addr32 movl $0, LAPIC_EOI
	iretw
ready:
	sti
1:	hlt
	jmp	1b
code_end:

start:
	cld
	movl	$HIGH(code), %esi
	movl	$RAM_GPA, %edi
	movl	$(code_end - code), %ecx
	addr32 rep movsb
	movw	$RAM(handler), VECTOR * 4
	movw	$0, VECTOR * 4 + 2
	movb	$0xff, %al
	outb	%al, $PIC1_MASK_PORT
	outb	%al, $PIC2_MASK_PORT
	addr32 movl $LAPIC_ENABLE, LAPIC_SPURIOUS
	ljmpw	$0, $RAM(ready)
	reset_vector
