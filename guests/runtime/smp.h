/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The other CPUs: started by INIT and SIPI, then running what they are given. */
#ifndef SMP_H
#define SMP_H

/* Start all CPUs of `platform`. Needs interrupts_init(). */
void smp_start(void);

/* CPUs running, this one included. */
unsigned cpus_running(void);

/* This CPU's number: 0 is the one that started the others. */
unsigned cpu_index(void);

/* Run `work` on all running CPUs at once, with interrupts on; return when all are done. */
void smp_run(void (*work)(unsigned cpu));

#endif
