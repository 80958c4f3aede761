// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "runtime.h"

#include "boot.h"
#include "exit.h"
#include "interrupt.h"
#include "serial.h"

_Noreturn void runtime_start(uint64_t start_info_address)
{
	serial_init();
	exceptions_init();
	boot_save(start_info_address);
	exit(main());
}
