/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* PCI configuration space, and the functions found in it. Register names are the kernel's. */
#ifndef PCI_H
#define PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_VENDOR_ID		0x00
#define PCI_DEVICE_ID		0x02
#define PCI_COMMAND		0x04
#define PCI_COMMAND_IO		0x0001
#define PCI_COMMAND_MEMORY	0x0002
#define PCI_COMMAND_MASTER	0x0004
#define PCI_COMMAND_INTX_DISABLE 0x0400
#define PCI_STATUS		0x06
#define PCI_STATUS_INTERRUPT	0x0008
#define PCI_STATUS_CAP_LIST	0x0010
#define PCI_CLASS_REVISION	0x08
#define PCI_HEADER_TYPE		0x0e
#define PCI_HEADER_TYPE_MASK	0x7f
#define PCI_HEADER_TYPE_BRIDGE	1
#define PCI_HEADER_MULTIFUNCTION 0x80
#define PCI_BASE_ADDRESS_0	0x10
#define PCI_SECONDARY_BUS	0x19
#define PCI_SUBORDINATE_BUS	0x1a
#define PCI_SUBSYSTEM_VENDOR_ID	0x2c
#define PCI_SUBSYSTEM_ID	0x2e
#define PCI_ROM_ADDRESS		0x30
#define PCI_CAPABILITY_LIST	0x34
#define PCI_ROM_ADDRESS1	0x38	/* of a bridge */
#define PCI_INTERRUPT_LINE	0x3c
#define PCI_INTERRUPT_PIN	0x3d

#define PCI_CAP_ID_PM		0x01
#define PCI_CAP_ID_MSI		0x05
#define PCI_CAP_ID_VNDR		0x09
#define PCI_CAP_ID_EXP		0x10
#define PCI_CAP_ID_MSIX		0x11
#define PCI_CAP_ID_AF		0x13
#define PCI_PM_CTRL		0x04
#define PCI_PM_STATE_MASK	0x0003
#define PCI_PM_D0		0
#define PCI_PM_D3HOT		3
#define PCI_EXP_DEVCAP		0x04
#define PCI_EXP_DEVCAP_FLR	0x10000000
#define PCI_EXP_DEVCTL		0x08
#define PCI_EXP_DEVCTL_FLR	0x8000
#define PCI_AF_CAP		0x03
#define PCI_AF_CAP_FLR		0x02
#define PCI_AF_CTRL		0x04
#define PCI_AF_CTRL_FLR		0x01
#define PCI_EXT_CAP_ID_VNDR	0x0b
#define PCI_EXT_CAP_ID_DSN	0x03

#define PCI_CFG_SPACE_SIZE	256
#define PCI_CFG_SPACE_EXP_SIZE	4096

struct pci_function {
	uint8_t bus, device, function;
	uint8_t header_type;		/* without the multifunction bit */
	uint8_t revision;
	uint16_t vendor_id, device_id;
	uint32_t class_code;		/* 24 bits: class, subclass, programming interface */
};

#define PCI_MAX_FUNCTIONS 64
extern struct pci_function pci_functions[PCI_MAX_FUNCTIONS];
extern unsigned pci_function_count;

/*
 * Find all functions, following bridges that firmware has given bus numbers.
 * Needs platform_init(): configuration goes through ECAM if there is one.
 */
void pci_init(void);

/* The first function with these ids, or NULL. */
const struct pci_function *pci_find(uint16_t vendor_id, uint16_t device_id);

/* The two mechanisms. Where one reaches nothing, reads are all-ones, writes are dropped. */
uint32_t pci_port_read(const struct pci_function *f, unsigned offset, unsigned size);
void pci_port_write(const struct pci_function *f, unsigned offset, unsigned size, uint32_t value);
uint32_t pci_ecam_read(const struct pci_function *f, unsigned offset, unsigned size);
void pci_ecam_write(const struct pci_function *f, unsigned offset, unsigned size, uint32_t value);

/* By ECAM, or by ports without it. */
uint32_t pci_read(const struct pci_function *f, unsigned offset, unsigned size);
void pci_write(const struct pci_function *f, unsigned offset, unsigned size, uint32_t value);

static inline uint8_t pci_read8(const struct pci_function *f, unsigned offset)
{
	return pci_read(f, offset, 1);
}

static inline uint16_t pci_read16(const struct pci_function *f, unsigned offset)
{
	return pci_read(f, offset, 2);
}

static inline uint32_t pci_read32(const struct pci_function *f, unsigned offset)
{
	return pci_read(f, offset, 4);
}

static inline void pci_write8(const struct pci_function *f, unsigned offset, uint8_t value)
{
	pci_write(f, offset, 1, value);
}

static inline void pci_write16(const struct pci_function *f, unsigned offset, uint16_t value)
{
	pci_write(f, offset, 2, value);
}

static inline void pci_write32(const struct pci_function *f, unsigned offset, uint32_t value)
{
	pci_write(f, offset, 4, value);
}

/* Set and clear bits of the command register; what it was before. */
uint16_t pci_command(const struct pci_function *f, uint16_t set, uint16_t clear);

/* How many of the first `dwords` of config space read differently by ports and by ECAM. */
unsigned pci_mechanisms_differ(const struct pci_function *f, unsigned dwords);

/* Capabilities there is room for: a longer chain is a loop. */
#define PCI_MAX_CAPABILITIES		48
#define PCI_MAX_EXTENDED_CAPABILITIES	480

/* The capability after the one at `offset`, or the first if that is 0; 0 at the end. */
unsigned pci_next_capability(const struct pci_function *f, unsigned offset);
unsigned pci_next_extended_capability(const struct pci_function *f, unsigned offset);

/* Where the (first) capability with this id is, or 0. */
unsigned pci_find_capability(const struct pci_function *f, uint8_t id);
unsigned pci_find_extended_capability(const struct pci_function *f, uint16_t id);

#endif
