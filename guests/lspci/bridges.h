/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What a bridge does to what is behind it. */
#ifndef BRIDGES_H
#define BRIDGES_H

/* Renumber, close and reset the bus behind each bridge, with a look at what is there. */
void test_bridges(void);

#endif
