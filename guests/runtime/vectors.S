/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * 256 entry points, 16 bytes apart, one per vector. Each makes the stack look the same
 * (error code, vector) and goes on to one common path into C: interrupt_dispatch() with a
 * struct interrupt_frame (interrupt.h). Only what C may clobber is saved.
 */
	.text
	.code64
	.balign	16
	.globl	vector_entries
vector_entries:
	.set	vector, 0
	.rept	256
	.balign	16
	/* #DF #TS #NP #SS #GP #PF #AC #CP push an error code themselves. */
	.if	!((vector == 8) || ((vector >= 10) && (vector <= 14)) || \
		  (vector == 17) || (vector == 21))
	pushq	$0
	.endif
	pushq	$vector
	jmp	enter_c
	.set	vector, vector + 1
	.endr

enter_c:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	cld
	movq	%rsp, %rdi
	call	interrupt_dispatch
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp		/* vector and error code */
	iretq

	.section .note.GNU-stack, "", @progbits
