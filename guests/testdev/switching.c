// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/* From one kind of interrupt to the next and back, as when one driver takes over from another. */
#include <stddef.h>

#include "check.h"
#include "interrupt.h"
#include "intx.h"
#include "lapic.h"
#include "msi.h"
#include "msix.h"
#include "registers.h"
#include "testdev.h"
#include "time.h"

static mmio_t registers;
static volatile unsigned intx_taken;

static void on_intx(uint8_t vector)
{
	(void)vector;
	if (!mmio_read32(registers, REG_INTX))
		return;
	intx_taken++;
	mmio_write32(registers, REG_INTX, 0);
}

static void use_intx(const struct pci_function *f, uint8_t vector)
{
	intx_taken = 0;
	interrupt_handle(vector, on_intx);
	intx_enable(f, vector, lapic_id());
	mmio_write32(registers, REG_INTX, 1);
	check(wait_event(intx_taken == 1, LIMIT_US), "INTx comes");
	check_equal(mmio_read32(registers, REG_IRQ_MODE), MODE_INTX, "the mode is INTx");
	intx_disable(f);
}

static void use_msi(const struct pci_function *f, uint8_t vector)
{
	struct msi msi;

	interrupt_handle(vector, NULL);
	msi_init(&msi, f);
	msi_enable(&msi, vector, 1, lapic_id());
	mmio_write32(registers, REG_IRQ_RAISE, 0);
	check(wait_event(interrupt_count(vector) == 1, LIMIT_US), "MSI comes");
	check_equal(mmio_read32(registers, REG_IRQ_MODE), MODE_MSI, "the mode is MSI");
	msi_disable(&msi);
}

static void use_msix(const struct pci_function *f, uint8_t vector)
{
	struct msix msix;

	interrupt_handle(vector, NULL);
	msix_init(&msix, f);
	msix_map(&msix);
	msix_set_entry(&msix, 1, vector, lapic_id());
	msix_enable(&msix);
	msix_set_mask(&msix, 1, false);
	mmio_write32(registers, REG_IRQ_RAISE, 1);
	check(wait_event(interrupt_count(vector) == 1, LIMIT_US), "MSI-X comes");
	check_equal(mmio_read32(registers, REG_IRQ_MODE), MODE_MSIX, "the mode is MSI-X");
	msix_set_mask(&msix, 1, true);
	msix_disable(&msix);
}

void test_switching(const struct testdev *dev)
{
	const uint8_t vector = vectors_allocate(1);

	check_section("switching between interrupts");
	registers = dev->registers;
	use_intx(dev->function, vector);
	use_msi(dev->function, vector);
	use_msix(dev->function, vector);
	use_intx(dev->function, vector);
	use_msix(dev->function, vector);
	use_msi(dev->function, vector);
}
