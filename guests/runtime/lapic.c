// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "lapic.h"

#include "cpu.h"
#include "interrupt.h"
#include "mmio.h"
#include "paging.h"
#include "platform.h"

/* Intel SDM volume 3, table "Local APIC Register Address Map". */
#define ID		0x020
#define TPR		0x080
#define SVR		0x0f0
#define ICR_LOW		0x300
#define ICR_HIGH	0x310
#define LVT_TIMER	0x320
#define LVT_LINT0	0x350
#define LVT_LINT1	0x360
#define LVT_ERROR	0x370
#define TIMER_INITIAL	0x380
#define TIMER_CURRENT	0x390
#define TIMER_DIVIDE	0x3e0

#define SVR_ENABLE	0x100
#define LVT_MASKED	0x10000
#define LVT_PERIODIC	0x20000
#define DIVIDE_BY_16	0x3
#define ICR_PENDING	0x1000
#define ICR_ASSERT	0x4000
#define ICR_INIT	0x500
#define ICR_STARTUP	0x600

#define MSI_BASE	0xfee00000

static mmio_t lapic;

void lapic_enable(void)
{
	lapic = map_mmio(platform.lapic_address, 4096);
	mmio_write32(lapic, LVT_TIMER, LVT_MASKED);
	mmio_write32(lapic, LVT_LINT0, LVT_MASKED);	/* firmware's way to the PIC */
	mmio_write32(lapic, LVT_LINT1, LVT_MASKED);
	mmio_write32(lapic, LVT_ERROR, LVT_MASKED);
	mmio_write32(lapic, TPR, 0);
	mmio_write32(lapic, TIMER_DIVIDE, DIVIDE_BY_16);
	mmio_write32(lapic, SVR, SVR_ENABLE | VECTOR_SPURIOUS);
}

uint8_t lapic_id(void)
{
	return mmio_read32(lapic, ID) >> 24;
}

void lapic_eoi(void)
{
	mmio_write32(lapic, LAPIC_EOI, 0);
}

/* The two halves must not be torn apart by a handler that sends something itself. */
static void send(uint8_t apic_id, uint32_t command)
{
	uint64_t flags;

	asm volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	mmio_write32(lapic, ICR_HIGH, (uint32_t)apic_id << 24);
	mmio_write32(lapic, ICR_LOW, command);
	while (mmio_read32(lapic, ICR_LOW) & ICR_PENDING)
		cpu_pause();
	asm volatile("pushq %0; popfq" : : "r"(flags) : "memory", "cc");
}

void lapic_send_interrupt(uint8_t apic_id, uint8_t vector)
{
	send(apic_id, ICR_ASSERT | vector);
}

void lapic_send_init(uint8_t apic_id)
{
	send(apic_id, ICR_ASSERT | ICR_INIT);
}

void lapic_send_startup(uint8_t apic_id, uint8_t page)
{
	send(apic_id, ICR_ASSERT | ICR_STARTUP | page);
}

void lapic_timer_count(uint32_t count)
{
	mmio_write32(lapic, LVT_TIMER, LVT_MASKED);
	mmio_write32(lapic, TIMER_INITIAL, count);
}

void lapic_timer_periodic(uint32_t count, uint8_t vector)
{
	mmio_write32(lapic, LVT_TIMER, LVT_PERIODIC | vector);
	mmio_write32(lapic, TIMER_INITIAL, count);
}

void lapic_timer_stop(void)
{
	mmio_write32(lapic, LVT_TIMER, LVT_MASKED);
	mmio_write32(lapic, TIMER_INITIAL, 0);
}

uint32_t lapic_timer_current(void)
{
	return mmio_read32(lapic, TIMER_CURRENT);
}

uint64_t msi_address(uint8_t apic_id)
{
	return MSI_BASE | (uint64_t)apic_id << 12;
}

uint32_t msi_data(uint8_t vector)
{
	return vector;
}
