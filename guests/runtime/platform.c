// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "platform.h"

#include "acpi.h"
#include "mptable.h"

/* Without any table: where PCs have always had them. */
struct platform platform = {
	.source = "none",
	.lapic_address = 0xfee00000,
	.ioapic_address = 0xfec00000,
	.isa_gsi = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
};

void platform_add_cpu(uint32_t apic_id)
{
	if (apic_id < MAX_CPUS && platform.cpus < MAX_CPUS)
		platform.apic_ids[platform.cpus++] = apic_id;
	else
		platform.cpus_left_out++;
}

void platform_init(void)
{
	if (acpi_read_tables())
		platform.source = "ACPI";
	else if (mptable_read())
		platform.source = "MP table";
	if (!platform.cpus)
		platform_add_cpu(0);
}
