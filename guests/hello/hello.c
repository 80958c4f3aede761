// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/*
 * The first guest to boot: says what it sees, then ends in the way asked for.
 * README.md lists the options.
 */
#include "runtime.h"

#include "boot.h"
#include "check.h"
#include "crash.h"
#include "echo.h"
#include "options.h"
#include "platform.h"
#include "power.h"
#include "print.h"

int main(void)
{
	platform_init();
	printf("Hello from the guest\n");
	printf("cpus: %u\n", platform.cpus);
	if (platform.cpus_left_out)
		printf("cpus left out: %u\n", platform.cpus_left_out);
	printf("memory: %lu KiB\n", boot_memory_size() >> 10);
	printf("command line: %s\n", boot_command_line);

	if (option_given("echo"))
		echo();
	if (option_given("crash"))
		crash();
	if (option_given("poweroff") || option_given("reset"))
		power();
	if (option_number("exit", 0))
		return option_number("exit", 0);
	return check_result();
}
