/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The least a guest can do: from the reset vector, still in real mode, write one byte to
 * COM1 and leave through the debug-exit port. As a firmware image (`qemu -bios`) it
 * measures how long a VMM takes to get to its first guest instruction, and no firmware
 * is in the way.
 */
	.text
	.code16
	.org	0xfff0, 0xff		/* the reset vector: 16 bytes below 4 GiB */
	movw	$0x3f8, %dx
	movb	$'H', %al
	outb	%al, %dx
	xorb	%al, %al
	outb	%al, $0xf4
1:	hlt
	jmp	1b
	.org	0x10000, 0xff
