// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "serial.h"

#include "cpu.h"

#define COM1	0x3f8
#define DATA	(COM1 + 0)		/* divisor, low byte, while LCR.DLAB is set */
#define IER	(COM1 + 1)		/* divisor, high byte, likewise */
#define FCR	(COM1 + 2)
#define LCR	(COM1 + 3)
#define MCR	(COM1 + 4)
#define LSR	(COM1 + 5)

#define IER_RECEIVED	0x01
#define FCR_ENABLE	0x07		/* FIFOs on, both emptied */
#define LCR_8N1		0x03
#define LCR_DLAB	0x80
#define MCR_DTR_RTS	0x03
#define MCR_OUT2	0x08		/* on a PC this gates the interrupt line */
#define LSR_RECEIVED	0x01
#define LSR_THRE	0x20
#define FIFO_SIZE	16

static unsigned fifo_room;

void serial_init(void)
{
	outb(IER, 0);
	outb(LCR, LCR_DLAB | LCR_8N1);
	outb(DATA, 1);			/* 115,200 baud */
	outb(IER, 0);
	outb(LCR, LCR_8N1);
	outb(FCR, FCR_ENABLE);
	outb(MCR, MCR_DTR_RTS);
}

/* With the FIFO on, THRE says that all of it is free: one poll pays for 16 bytes. */
void serial_putc(char c)
{
	if (!fifo_room) {
		while (!(inb(LSR) & LSR_THRE))
			cpu_pause();
		fifo_room = FIFO_SIZE;
	}
	fifo_room--;
	outb(DATA, c);
}

void serial_enable_receive_interrupt(void)
{
	outb(MCR, MCR_DTR_RTS | MCR_OUT2);
	outb(IER, IER_RECEIVED);
}

int serial_getc(void)
{
	return inb(LSR) & LSR_RECEIVED ? inb(DATA) : -1;
}
