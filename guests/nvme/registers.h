/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* An NVMe controller's registers in BAR 0, and its commands: NVM Express Base 1.4, 3 and 5. */
#ifndef REGISTERS_H
#define REGISTERS_H

#define NVME_CLASS_CODE		0x010802
#define NVME_BAR		0

#define NVME_CAP		0x00	/* 64 bits */
#define NVME_CC			0x14
#define NVME_CSTS		0x1c
#define NVME_AQA		0x24
#define NVME_ASQ		0x28	/* 64 bits */
#define NVME_ACQ		0x30	/* 64 bits */
#define NVME_DOORBELLS		0x1000

#define CAP_DSTRD(cap)		((cap) >> 32 & 0xf)	/* doorbells are 4 << this apart */
#define CC_ENABLE		0x1
#define CC_ENTRY_SIZES		0x00460000	/* 16-byte completions, 64-byte commands */
#define CSTS_READY		0x1

#define ADMIN_DELETE_SQ		0x00
#define ADMIN_CREATE_SQ		0x01
#define ADMIN_DELETE_CQ		0x04
#define ADMIN_CREATE_CQ		0x05
#define ADMIN_IDENTIFY		0x06
#define ADMIN_SET_FEATURES	0x09
#define FEATURE_QUEUES		0x07
#define QUEUE_CONTIGUOUS	0x1
#define QUEUE_INTERRUPTS	0x2
#define READ			0x02

#define IDENTIFY_FLBAS		26	/* bits 0-3: which format the namespace has */
#define IDENTIFY_FORMATS	128	/* 4 bytes each; bits 16-23: log2 of a block's bytes */

#endif
