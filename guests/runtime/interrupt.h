/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The IDT: exceptions end the guest with a report, every other vector can have a handler in
 * C and counts its interrupts.
 */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

/* What vectors.S leaves on the stack. */
struct interrupt_frame {
	uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
	uint64_t vector, error_code;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* Vectors of the runtime; devices get theirs from vectors_allocate(). */
#define VECTOR_TIMER	0xf0
#define VECTOR_WAKE	0xf1
#define VECTOR_SPURIOUS	0xff

/* Called with interrupts off; the end-of-interrupt is sent after it returns. */
typedef void (*interrupt_handler)(uint8_t vector);

void exceptions_init(void);

/* Load the IDT on this CPU. */
void idt_load(void);

/*
 * The PICs masked, the local APIC on, time calibrated, interrupts enabled.
 * Needs platform_init().
 */
void interrupts_init(void);

/* `count` vectors (a power of two) in a row, aligned to `count`, as MSI wants them. */
uint8_t vectors_allocate(unsigned count);

/* Let `handler` (may be NULL: only count) serve `vector`, and set its count to 0. */
void interrupt_handle(uint8_t vector, interrupt_handler handler);

/* Let `vector` enter assembler directly, past the counting and the end-of-interrupt. */
void interrupt_gate(uint8_t vector, void (*entry)(void));

/* Interrupts taken on `vector`, by all CPUs, since interrupt_handle(). */
unsigned interrupt_count(uint8_t vector);

#endif
