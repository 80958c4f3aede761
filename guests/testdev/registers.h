/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The testdev device: pyvmm's own, with every kind of BAR, capability and interrupt. */
#ifndef REGISTERS_H
#define REGISTERS_H

#define TESTDEV_VENDOR_ID	0x1234
#define TESTDEV_DEVICE_ID	0x7e57

/* BAR 0, 32-bit memory: registers, of 4 bytes each unless they say otherwise. */
#define REG_ID			0x00
#define REG_VERSION		0x04
#define REG_SCRATCH		0x08	/* any width */
#define REG_TRAPS		0x0c	/* trapped accesses of BAR 0, this one included */
#define REG_IRQ_RAISE		0x10	/* write a vector: it is signalled once */
#define REG_INTX		0x14	/* bit 0: the level of the line */
#define REG_DOORBELLS		0x18
#define REG_IRQ_MODE		0x1c
#define REG_DMA_ADDRESS		0x20	/* 8 bytes */
#define REG_DMA_LENGTH		0x28	/* bytes */
#define REG_DMA_COMMAND		0x2c
#define REG_DMA_STATUS		0x30
#define REG_DMA_CHECKSUM	0x34	/* sum of the 4-byte words moved */
#define REG_DMA_OFFSET		0x38	/* in BAR 2 */
#define REG_DMA_SEED		0x3c

#define ID_VALUE		0x74736574
#define VERSION_VALUE		1

#define MODE_INTX		0	/* or none */
#define MODE_MSI		1
#define MODE_MSIX		2

#define DMA_CHECKSUM		1	/* sum up guest memory */
#define DMA_FILL		2	/* fill guest memory with DMA_SEED + i */
#define DMA_FROM_GUEST		3	/* guest memory to BAR 2 */
#define DMA_TO_GUEST		4	/* BAR 2 to guest memory */
#define DMA_SIGNAL(vector)	(0x100 | (vector) << 16)

#define DMA_BUSY		1
#define DMA_DONE		2
#define DMA_ERROR		3
#define DMA_MAX_LENGTH		0x100000

/* The other parts of BAR 0. The MSI-X table and PBA share a page with the registers. */
#define BAR0_SIZE		0x10000u
#define MSIX_TABLE		0x0800
#define MSIX_PBA		0x0c00
#define DOORBELL		0x1000
#define MAPPED_START		0x4000	/* RAM that the VMM may map */
#define MAPPED_END		0xc000
#define ZEROES_START		0xc000	/* trapped, reads 0 */

/* BAR 1, I/O ports. */
#define BAR1_SIZE		0x100
#define IO_SCRATCH		0x00
#define IO_SCRATCH_SIZE		0x10
#define IO_ID			0x10

/* BAR 2, 64-bit prefetchable memory: all of it RAM, and what DMA goes to and from. */
#define BAR2_SIZE		0x200000

/* BAR 4, 32-bit memory, less than a page. */
#define BAR4_SIZE		0x100
#define SMALL_ID		0x00
#define SMALL_SCRATCH		0x10
#define SMALL_SCRATCH_SIZE	0x10

/* BAR 5, 32-bit prefetchable memory, less than a page: all of it RAM that the VMM may map. */
#define BAR5_SIZE		0x80

/* The expansion ROM: byte i is i & 0xff, but for a header and a text. */
#define ROM_SIZE		0x1000
#define ROM_FIRST		0x0308aa55	/* its first and its last 4 bytes */
#define ROM_LAST		0xfffefdfc
#define ROM_TEXT_OFFSET		0x10
#define ROM_TEXT		"pyvmm testdev rom"

#define CAP_PM			0x40
#define CAP_MSI			0x50
#define CAP_MSIX		0x70
#define CAP_VENDOR		0x80
#define CAP_EXPRESS		0x90
#define CAP_DSN			0x100
#define CAP_VSEC		0x110

#define MSI_MESSAGES		8
#define MSIX_VECTORS		64

#endif
