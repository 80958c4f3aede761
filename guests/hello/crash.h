/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#ifndef CRASH_H
#define CRASH_H

/* Come to grief in the way the option crash=WAY names; returns only if nothing came of it. */
void crash(void);

#endif
