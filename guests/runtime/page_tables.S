/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The identity map of the first 4 GiB, in pages of 2 MiB, present in the image: filling
 * 2,048 entries at run time would cost milliseconds where ring 0 is emulated.
 * paging.c adds device windows to it.
 */
#define TABLE	0x003			/* present, writable */
#define PAGE2M	0x083			/* present, writable, 2 MiB */

	.section .data.page_tables, "aw"
	.balign	4096
	.globl	page_table_root
page_table_root:
	.quad	pointers + TABLE
	.fill	511, 8, 0
pointers:
	.quad	directories + 0x0000 + TABLE
	.quad	directories + 0x1000 + TABLE
	.quad	directories + 0x2000 + TABLE
	.quad	directories + 0x3000 + TABLE
	.fill	508, 8, 0
directories:
	.set	page, 0
	.rept	2048
	.quad	page + PAGE2M
	.set	page, page + 0x200000
	.endr

	.section .note.GNU-stack, "", @progbits
