/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * From the loader (or the trampoline of a secondary CPU) to C.
 *
 * A PVH loader enters at the address in the ELF note, in 32-bit protected mode with flat
 * segments and paging off; %ebx holds the address of struct hvm_start_info (Xen's
 * docs/misc/pvh.pandoc). Secondary CPUs come in from trampoline.S in the same mode.
 */
#include "segments.h"

#define CR0		0x80010033	/* PG WP NE ET MP PE; CD and NW, set by INIT, off */
#define CR4_PAE		0x20
#define MSR_EFER	0xc0000080
#define EFER_LME	0x100

#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .note.pvh, "a", @note
	.balign	4
	.long	4			/* n_namesz */
	.long	8			/* n_descsz: loaders read 8 bytes from an ELF64 file */
	.long	XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.quad	pvh_entry

	.text
	.code32
	.globl	pvh_entry
pvh_entry:
	movl	$start_boot_cpu, %esi
	jmp	enter_long_mode

	.globl	secondary_entry
secondary_entry:
	movl	$start_secondary_cpu, %esi

enter_long_mode:			/* %esi: where to go on, %ebx is kept */
	cli
	cld
	lgdt	gdt_pointer
	movl	$page_table_root, %eax
	movl	%eax, %cr3
	movl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	$CR0, %eax
	movl	%eax, %cr0
	ljmp	$CODE64_SELECTOR, $1f

	.code64
1:	movl	$DATA_SELECTOR, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	xorl	%ebp, %ebp
	jmp	*%rsi

start_boot_cpu:
	movl	$boot_stack_top, %esp
	movl	%ebx, %edi
	call	runtime_start
	ud2

start_secondary_cpu:
	movq	secondary_stack, %rsp
	call	secondary_start
	ud2

	.section .data.gdt, "aw"
	.balign	8
	.globl	gdt
gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x10: data, base 0, 4 GiB */
	.quad	0x00cf9b000000ffff	/* 0x18: 32-bit code */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
	.long	0

	.section .bss.boot_stack, "aw", @nobits
	.balign	16
	.skip	16384
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
