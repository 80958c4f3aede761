// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "names.h"

#include <stddef.h>

static const char *const capability_names[] = {
	[0x01] = "power management",
	[0x02] = "AGP",
	[0x03] = "vital product data",
	[0x04] = "slot identification",
	[0x05] = "MSI",
	[0x06] = "CompactPCI hot swap",
	[0x07] = "PCI-X",
	[0x08] = "HyperTransport",
	[0x09] = "vendor specific",
	[0x0a] = "debug port",
	[0x0b] = "CompactPCI resource control",
	[0x0c] = "hot-plug",
	[0x0d] = "bridge subsystem ids",
	[0x0e] = "AGP 8x",
	[0x0f] = "secure device",
	[0x10] = "PCI Express",
	[0x11] = "MSI-X",
	[0x12] = "SATA",
	[0x13] = "advanced features",
	[0x14] = "enhanced allocation",
};

static const char *const extended_names[] = {
	[0x00] = "null",
	[0x01] = "advanced error reporting",
	[0x02] = "virtual channel",
	[0x03] = "device serial number",
	[0x04] = "power budgeting",
	[0x0b] = "vendor specific",
	[0x0d] = "access control services",
	[0x0e] = "alternative routing-id",
	[0x0f] = "address translation services",
	[0x10] = "single root I/O virtualization",
	[0x11] = "multi root I/O virtualization",
	[0x12] = "multicast",
	[0x13] = "page request interface",
	[0x15] = "resizable BAR",
	[0x16] = "dynamic power allocation",
	[0x17] = "TPH requester",
	[0x18] = "latency tolerance reporting",
	[0x19] = "secondary PCI Express",
	[0x1b] = "process address space id",
	[0x1d] = "downstream port containment",
	[0x1e] = "L1 PM substates",
	[0x1f] = "precision time measurement",
	[0x23] = "designated vendor specific",
	[0x25] = "data link feature",
	[0x26] = "physical layer 16 GT/s",
	[0x27] = "lane margining",
	[0x2e] = "data object exchange",
};

static const char *name(const char *const *names, size_t count, unsigned id)
{
	return id < count && names[id] ? names[id] : "unknown";
}

const char *capability_name(uint8_t id)
{
	return name(capability_names, sizeof(capability_names) / sizeof(capability_names[0]), id);
}

const char *extended_capability_name(uint16_t id)
{
	return name(extended_names, sizeof(extended_names) / sizeof(extended_names[0]), id);
}
