/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The parts of the program: what is kept, what is found, what is left behind. */
#ifndef KEPT_H
#define KEPT_H

#include <stdbool.h>
#include <stdint.h>

#define MAX_ITEMS 512

/* What a reset leaves alone: in RAM, where no loader puts anything. */
struct kept {
	uint64_t magic;
	uint32_t boots;
	uint32_t items;
	uint64_t values[MAX_ITEMS];	/* of the machine's state at the first boot */
};

#define KEPT ((volatile struct kept *)0x800000)

/* One more boot, counted in RAM and in CMOS memory; false if they differ. KEPT has the number. */
bool count_boot(void);

/* Compare what a reset has to bring back with what it was at the first boot. */
bool check_state(void);

/* Change all of it. Needs interrupts_init() and pci_init(). */
void soil(void);

#endif
