/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Where a secondary CPU wakes up: real mode, CS:IP = (SIPI vector << 8):0000.
 * smp.c copies this code to a page below 1 MiB. It finds its data through CS, so the page
 * may be any.
 */
#include "segments.h"

	.section .rodata.trampoline, "a"
	.code16
	.globl	trampoline
trampoline:
	cli
	lgdtl	%cs:trampoline_gdt_pointer - trampoline
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$CODE32_SELECTOR, $1f

	/*
	 * From here on the segments are flat and the code runs where it was linked. The data
	 * segments still hold their real-mode bases.
	 */
	.section .text.trampoline32, "ax"
	.code32
1:	movl	$DATA_SELECTOR, %eax
	movl	%eax, %ds
	jmp	secondary_entry

	.section .rodata.trampoline, "a"
trampoline_gdt_pointer:
	.word	4 * 8 - 1
	.long	gdt
	.globl	trampoline_end
trampoline_end:

	.section .note.GNU-stack, "", @progbits
