// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupt.h"

#include <stddef.h>

#include "cpu.h"
#include "exit.h"
#include "lapic.h"
#include "panic.h"
#include "print.h"
#include "segments.h"
#include "time.h"

#define EXCEPTIONS	32
#define FIRST_VECTOR	0x50		/* for devices; the lower ones are the programs' own */
#define GATE_INTERRUPT	0x8e00		/* present, ring 0, 64-bit interrupt gate */

#define PIC1_DATA	0x21
#define PIC2_DATA	0xa1

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint16_t attributes;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

extern uint8_t vector_entries[256][16];
void interrupt_dispatch(const struct interrupt_frame *frame);

static struct gate idt[256] __attribute__((aligned(16)));
static interrupt_handler handlers[256];
static uint32_t counts[256];
static unsigned next_vector = FIRST_VECTOR;

static void set_gate(uint8_t vector, uint64_t entry)
{
	idt[vector] = (struct gate){
		.offset_low = entry,
		.selector = CODE64_SELECTOR,
		.attributes = GATE_INTERRUPT,
		.offset_middle = entry >> 16,
		.offset_high = entry >> 32,
	};
}

void idt_load(void)
{
	struct table_pointer pointer = {sizeof(idt) - 1, (uint64_t)idt};

	asm volatile("lidt %0" : : "m"(pointer));
}

/* Gates of interrupts are made as they get handlers: filling all 256 takes its time. */
void exceptions_init(void)
{
	for (unsigned vector = 0; vector < EXCEPTIONS; vector++)
		set_gate(vector, (uint64_t)vector_entries[vector]);
	idt_load();
}

void interrupts_init(void)
{
	outb(PIC1_DATA, 0xff);
	outb(PIC2_DATA, 0xff);
	interrupt_handle(VECTOR_TIMER, NULL);
	interrupt_handle(VECTOR_WAKE, NULL);
	interrupt_handle(VECTOR_SPURIOUS, NULL);
	lapic_enable();
	time_init();
	irq_enable();
}

uint8_t vectors_allocate(unsigned count)
{
	unsigned first = (next_vector + count - 1) & -count;

	if (first + count > VECTOR_TIMER)
		panic("no %u vectors left", count);
	next_vector = first + count;
	return first;
}

void interrupt_handle(uint8_t vector, interrupt_handler handler)
{
	handlers[vector] = handler;
	__atomic_store_n(&counts[vector], 0, __ATOMIC_SEQ_CST);
	set_gate(vector, (uint64_t)vector_entries[vector]);
}

void interrupt_gate(uint8_t vector, void (*entry)(void))
{
	set_gate(vector, (uint64_t)entry);
}

unsigned interrupt_count(uint8_t vector)
{
	return __atomic_load_n(&counts[vector], __ATOMIC_SEQ_CST);
}

static _Noreturn void report_exception(const struct interrupt_frame *frame)
{
	print_force();
	printf("exception %lu: error code 0x%lx, rip 0x%lx, cr2 0x%lx, rsp 0x%lx, rflags 0x%lx\n",
	       frame->vector, frame->error_code, frame->rip, read_cr2(), frame->rsp,
	       frame->rflags);
	exit(EXIT_EXCEPTION + frame->vector);
}

void interrupt_dispatch(const struct interrupt_frame *frame)
{
	const uint8_t vector = frame->vector;

	if (vector < EXCEPTIONS)
		report_exception(frame);
	__atomic_fetch_add(&counts[vector], 1, __ATOMIC_SEQ_CST);
	if (handlers[vector])
		handlers[vector](vector);
	if (vector != VECTOR_SPURIOUS)
		lapic_eoi();
}
