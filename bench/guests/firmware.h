/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A firmware image of 64 KiB that ends at 4 GiB. From the reset vector on it stays in real mode,
 * but with a data segment of 4 GiB, and goes to `start`, which the including file defines.
 *
 * The images are not linked: HIGH() makes guest-physical addresses out of differences of
 * labels, which the assembler knows.
 */
#define IMAGE_GPA	0xffff0000
#define HIGH(label)	(IMAGE_GPA + ((label) - image))
#define STACK_TOP	0x8000

#define SERIAL_PORT	0x3f8
#define DEBUG_EXIT_PORT	0xf4

	.macro	serial_byte byte
	movw	$SERIAL_PORT, %dx
	movb	$\byte, %al
	outb	%al, %dx
	.endm

	.macro	exit_guest
	xorb	%al, %al
	outb	%al, $DEBUG_EXIT_PORT
1:	hlt
	jmp	1b
	.endm

	.code16
	.text
image:
gdt:	.quad	0
	.quad	0x00cf93000000ffff	/* 0x08: data, 4 GiB, accessed already: this is ROM */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	HIGH(gdt)

reset:
	cli
	lgdtl	%cs:(gdt_pointer - image)
	movl	$0x11, %eax		/* PE and ET */
	movl	%eax, %cr0
	movw	$0x08, %bx
	movw	%bx, %ds		/* its limit stays when PE goes */
	movb	$0x10, %al
	movl	%eax, %cr0
	xorw	%ax, %ax
	movw	%ax, %ss
	movw	$STACK_TOP, %sp
	jmp	start

	.macro	reset_vector
	.org	0xfff0, 0xff
	jmp	reset
	.org	0x10000, 0xff
	.endm
