// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * irqfd_loop FIRMWARE PORT VECTOR TIMER COUNT: the guest's handler of VECTOR writes to PORT.
 *
 * Connects an eventfd to the vector and the port to another, runs the guest, and has the
 * program TIMER ("TIMER SIGNAL ANSWER COUNT", eventfds by number) measure the way through both.
 */
#include "vmm.h"

#include <err.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GSI		24
#define LAPIC_GPA	0xfee00000

static void connect_vector(int vm, int eventfd, int vector)
{
	struct {
		struct kvm_irq_routing header;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.header = { .nr = 1 },
		.entry = {
			.gsi = GSI,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = LAPIC_GPA, .data = vector },
		},
	};
	struct kvm_irqfd irqfd = { .fd = eventfd, .gsi = GSI };

	checked("KVM_SET_GSI_ROUTING", ioctl(vm, KVM_SET_GSI_ROUTING, &routing));
	checked("KVM_IRQFD", ioctl(vm, KVM_IRQFD, &irqfd));
}

static void connect_port(int vm, int eventfd, int port)
{
	struct kvm_ioeventfd ioeventfd = {
		.fd = eventfd,
		.addr = port,
		.len = 1,
		.flags = KVM_IOEVENTFD_FLAG_PIO,
	};

	checked("KVM_IOEVENTFD", ioctl(vm, KVM_IOEVENTFD, &ioeventfd));
}

static void *run_guest(void *vmm)
{
	vmm_run(vmm);
	errx(1, "the guest has ended");
}

int main(int argc, char **argv)
{
	struct vmm vmm;
	pthread_t thread;
	char signal_text[16], answer_text[16];
	int status;

	if (argc != 6)
		errx(2, "usage: irqfd_loop FIRMWARE PORT VECTOR TIMER COUNT");
	int signal = checked("eventfd", eventfd(0, 0));
	int answer = checked("eventfd", eventfd(0, 0));
	vmm_create(&vmm, argv[1]);
	connect_port(vmm.vm, answer, atoi(argv[2]));
	connect_vector(vmm.vm, signal, atoi(argv[3]));
	if (pthread_create(&thread, NULL, run_guest, &vmm))
		errx(1, "pthread_create");

	snprintf(signal_text, sizeof(signal_text), "%d", signal);
	snprintf(answer_text, sizeof(answer_text), "%d", answer);
	pid_t timer = checked("fork", fork());
	if (!timer) {
		execl(argv[4], argv[4], signal_text, answer_text, argv[5], (char *)NULL);
		err(1, "%s", argv[4]);
	}
	checked("waitpid", waitpid(timer, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
