/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The edu device: registers in BAR 0, as QEMU's docs/specs/edu.rst gives them. */
#ifndef REGISTERS_H
#define REGISTERS_H

#define EDU_VENDOR_ID		0x1234
#define EDU_DEVICE_ID		0x11e8
#define EDU_BAR			0
#define EDU_BAR_SIZE		0x100000

/* Below 0x80 only accesses of 4 bytes work, from there on of 4 and 8. */
#define EDU_ID			0x00
#define EDU_LIVENESS		0x04	/* reads as the complement of what was written */
#define EDU_FACTORIAL		0x08
#define EDU_STATUS		0x20
#define EDU_IRQ_STATUS		0x24
#define EDU_IRQ_RAISE		0x60
#define EDU_IRQ_ACK		0x64
#define EDU_DMA_SOURCE		0x80
#define EDU_DMA_DESTINATION	0x88
#define EDU_DMA_COUNT		0x90
#define EDU_DMA_COMMAND		0x98
#define EDU_DMA_BUFFER		0x40000	/* as the DMA registers name it; not in the BAR */
#define EDU_DMA_BUFFER_SIZE	4096

#define EDU_ID_VALUE		0x010000ed
#define STATUS_COMPUTING	0x01
#define STATUS_FACTORIAL_IRQ	0x80
#define IRQ_FACTORIAL		0x001
#define IRQ_DMA			0x100
#define DMA_RUN			0x1
#define DMA_TO_RAM		0x2
#define DMA_IRQ			0x4

#define DMA_ADDRESS_BITS	28	/* higher bits of a bus address are dropped */

#endif
