/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The first serial port, a 16550A at I/O port 0x3f8, ISA interrupt 4. */
#ifndef SERIAL_H
#define SERIAL_H

#define SERIAL_IRQ 4

void serial_init(void);
void serial_putc(char c);

/* Let the port raise its interrupt for each byte received. */
void serial_enable_receive_interrupt(void);

/* The next byte received, or -1. */
int serial_getc(void);

#endif
