// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "power.h"

#include "exit.h"
#include "options.h"
#include "reset.h"

_Noreturn void power(void)
{
	if (option_given("poweroff"))
		power_off();
	machine_reset();
}
