// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* Configuration space: ids, capabilities and what is writable in them. */
#include "testdev.h"

#include "check.h"
#include "platform.h"
#include "registers.h"

#define EXPRESS_FLAGS		0x02
#define EXPRESS_VERSION_MASK	0x000f
#define EXPRESS_TYPE_MASK	0x00f0
#define EXPRESS_ENDPOINT	0x0000
#define EXPRESS_INTEGRATED	0x0090
#define VENDOR_LENGTH		16
#define VENDOR_SCRATCH		8	/* its last 8 bytes are writable */
#define DSN_LOW			0x04
#define DSN_HIGH		0x08
#define VSEC_HEADER		0x04
#define VSEC_SCRATCH		0x0c	/* its last 12 bytes are writable */

static void check_capability(const struct pci_function *f, uint8_t id, unsigned expected,
			     const char *name)
{
	check_equal(pci_find_capability(f, id), expected, "%s capability at 0x%02x", name,
		    expected);
}

static void test_ids(const struct pci_function *f)
{
	check_equal(f->revision, 1, "revision is 1");
	check_equal(f->class_code, 0xff0000, "class is ff0000");
	check_equal(f->header_type, 0, "header type is 0");
	check_equal(pci_read16(f, PCI_SUBSYSTEM_VENDOR_ID), 0x1234, "subsystem vendor is 1234");
	check_equal(pci_read16(f, PCI_SUBSYSTEM_ID), 0x0001, "subsystem is 0001");
	check_equal(pci_read8(f, PCI_INTERRUPT_PIN), 1, "interrupt pin is A");
}

static void test_capabilities(const struct pci_function *f)
{
	uint16_t express;

	check_capability(f, PCI_CAP_ID_PM, CAP_PM, "power management");
	check_capability(f, PCI_CAP_ID_MSI, CAP_MSI, "MSI");
	check_capability(f, PCI_CAP_ID_MSIX, CAP_MSIX, "MSI-X");
	check_capability(f, PCI_CAP_ID_VNDR, CAP_VENDOR, "vendor specific");
	check_capability(f, PCI_CAP_ID_EXP, CAP_EXPRESS, "PCI Express");
	check_equal(pci_read16(f, CAP_PM + PCI_PM_CTRL) & PCI_PM_STATE_MASK, 0, "power state is D0");
	express = pci_read16(f, CAP_EXPRESS + EXPRESS_FLAGS);
	check_equal(express & EXPRESS_VERSION_MASK, 2, "PCI Express capability version is 2");
	/* On the root complex's own bus there are no others. */
	if (!f->bus)
		check_equal(express & EXPRESS_TYPE_MASK, EXPRESS_INTEGRATED,
			    "it is an integrated endpoint");
	else
		check_equal(express & EXPRESS_TYPE_MASK, EXPRESS_ENDPOINT, "it is an endpoint");
	check_equal(pci_read8(f, CAP_VENDOR + 2), VENDOR_LENGTH, "vendor capability has 16 bytes");
}

static void test_extended_capabilities(const struct pci_function *f)
{
	check_equal(pci_find_extended_capability(f, PCI_EXT_CAP_ID_DSN), CAP_DSN,
		    "serial number capability at 0x%03x", CAP_DSN);
	check_equal((uint64_t)pci_read32(f, CAP_DSN + DSN_HIGH) << 32 |
		    pci_read32(f, CAP_DSN + DSN_LOW),
		    0x0123456789abcdef, "serial number is 0123456789abcdef");
	check_equal(pci_find_extended_capability(f, PCI_EXT_CAP_ID_VNDR), CAP_VSEC,
		    "vendor specific extended capability at 0x%03x", CAP_VSEC);
	check_equal(pci_read32(f, CAP_VSEC + VSEC_HEADER), 24 << 20 | 1 << 16 | 0x7e57,
		    "VSEC 7e57, revision 1, 24 bytes");
}

/* Write and read back in all widths, and see that neighbours keep what they had. */
static void test_scratch(const struct pci_function *f, unsigned offset, const char *name)
{
	pci_write32(f, offset, 0x11223344);
	pci_write32(f, offset + 4, 0x55667788);
	pci_write16(f, offset + 2, 0xaabb);
	pci_write8(f, offset + 1, 0xcc);
	check_equal(pci_read32(f, offset), 0xaabbcc44, "%s is writable in 1, 2 and 4 bytes", name);
	check_equal(pci_read16(f, offset + 2), 0xaabb, "%s is readable in 2 bytes", name);
	check_equal(pci_read8(f, offset + 1), 0xcc, "%s is readable in 1 byte", name);
	check_equal(pci_read32(f, offset + 4), 0x55667788, "%s keeps its neighbour", name);
}

static void test_read_only(const struct pci_function *f, unsigned offset, const char *name)
{
	const uint32_t before = pci_read32(f, offset);

	pci_write32(f, offset, ~before);
	check_equal(pci_read32(f, offset), before, "%s is read-only", name);
}

void test_config(const struct testdev *dev)
{
	const struct pci_function *f = dev->function;

	check_section("configuration space");
	test_ids(f);
	test_capabilities(f);
	test_scratch(f, CAP_VENDOR + VENDOR_SCRATCH, "vendor scratch");
	test_read_only(f, PCI_VENDOR_ID, "vendor and device id");
	test_read_only(f, PCI_CLASS_REVISION, "class and revision");
	test_read_only(f, PCI_SUBSYSTEM_VENDOR_ID, "subsystem");
	test_read_only(f, PCI_CAPABILITY_LIST, "capability pointer");
	test_read_only(f, CAP_VENDOR, "vendor capability header");
	if (!check(platform.ecam_address, "there is ECAM"))
		return;
	test_extended_capabilities(f);
	test_scratch(f, CAP_VSEC + VSEC_SCRATCH, "VSEC scratch");
	test_read_only(f, CAP_DSN, "serial number header");
	test_read_only(f, CAP_DSN + DSN_LOW, "serial number");
	check_equal(pci_mechanisms_differ(f, PCI_CFG_SPACE_SIZE / 4), 0,
		    "ports and ECAM read the same");
	pci_port_write(f, CAP_VENDOR + VENDOR_SCRATCH, 4, 0x0badcafe);
	check_equal(pci_ecam_read(f, CAP_VENDOR + VENDOR_SCRATCH, 4), 0x0badcafe,
		    "what ports write, ECAM reads");
}
