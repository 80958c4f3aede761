// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* exit_loop FIRMWARE: run it, its serial output on stdout, until it asks for the end. */
#include "vmm.h"

#include <err.h>

int main(int argc, char **argv)
{
	struct vmm vmm;

	if (argc != 2)
		errx(2, "usage: exit_loop FIRMWARE");
	vmm_create(&vmm, argv[1]);
	vmm_run(&vmm);
	return 0;
}
