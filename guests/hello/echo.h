/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef ECHO_H
#define ECHO_H

/* Send back what arrives on the serial port, byte by byte from its interrupt, up to a `q`. */
void echo(void);

#endif
