/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* In assembler, because C would save registers before it does what is timed. */
	.text
	.code64
	.globl	irqlat_entry
irqlat_entry:
	outb	%al, $0x80		/* HARMLESS_PORT; what is written does not matter */
	incl	irqlat_count
	pushq	%rax
	movq	irqlat_eoi_register, %rax
	movl	$0, (%rax)
	popq	%rax
	iretq

	.bss
	.balign	8
	.globl	irqlat_eoi_register
irqlat_eoi_register:
	.skip	8
	.globl	irqlat_count
irqlat_count:
	.skip	4

	.section .note.GNU-stack, "", @progbits
