/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Access to device memory. Each call is one MOV of exactly that width: a volatile access in
 * C may become any instruction with a memory operand, and not every hypervisor's
 * instruction decoder knows them all.
 */
#ifndef MMIO_H
#define MMIO_H

#include <stdint.h>

typedef volatile uint8_t *mmio_t;

static inline uint8_t mmio_read8(mmio_t base, uint64_t offset)
{
	uint8_t value;

	asm volatile("movb %1, %0" : "=q"(value) : "m"(base[offset]) : "memory");
	return value;
}

static inline uint16_t mmio_read16(mmio_t base, uint64_t offset)
{
	uint16_t value;

	asm volatile("movw %1, %0" : "=r"(value) : "m"(base[offset]) : "memory");
	return value;
}

static inline uint32_t mmio_read32(mmio_t base, uint64_t offset)
{
	uint32_t value;

	asm volatile("movl %1, %0" : "=r"(value) : "m"(base[offset]) : "memory");
	return value;
}

static inline uint64_t mmio_read64(mmio_t base, uint64_t offset)
{
	uint64_t value;

	asm volatile("movq %1, %0" : "=r"(value) : "m"(base[offset]) : "memory");
	return value;
}

static inline void mmio_write8(mmio_t base, uint64_t offset, uint8_t value)
{
	asm volatile("movb %1, %0" : "=m"(base[offset]) : "q"(value) : "memory");
}

static inline void mmio_write16(mmio_t base, uint64_t offset, uint16_t value)
{
	asm volatile("movw %1, %0" : "=m"(base[offset]) : "r"(value) : "memory");
}

static inline void mmio_write32(mmio_t base, uint64_t offset, uint32_t value)
{
	asm volatile("movl %1, %0" : "=m"(base[offset]) : "r"(value) : "memory");
}

static inline void mmio_write64(mmio_t base, uint64_t offset, uint64_t value)
{
	asm volatile("movq %1, %0" : "=m"(base[offset]) : "r"(value) : "memory");
}

#endif
