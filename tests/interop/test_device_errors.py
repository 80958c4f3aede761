# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A device that reports an error, from the bus to the driver: AER, the host's kernel, VFIO, ERR.

Nothing in a lab can have a device fail; its host can. So this has a lab of its own.
"""

from __future__ import annotations

import os
import sys
import threading

import pytest

from pyvmm.lab import Lab, LabError
from tests.conftest import ROOT, missing_for_lab

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(bool(missing_for_lab()), reason=missing_for_lab() or "all there"),
    pytest.mark.xdist_group("lab-sessions"),
    pytest.mark.timeout(400),
]
DRIVER = """
import sys
from pyvmm import vfio
from pyvmm.uapi.pci_regs import PCI_COMMAND_SERR

with vfio.open(sys.argv[1]) as dev:
    (error,) = dev.err.enable(1)
    dev.config.command |= PCI_COMMAND_SERR  # QEMU's devices report none without
    print("ready", flush=True)
    print("told", error.wait(timeout=60))
"""


def test_the_driver_is_told() -> None:
    reader, writer = os.pipe()
    with Lab("virtio-rng:aer=on") as lab, os.fdopen(reader) as said:
        ((_, address),) = lab.devices
        (device,) = lab.plugged
        argv = [sys.executable, "-c", DRIVER, address]

        def run() -> None:
            with os.fdopen(writer, "w") as out:
                lab.run(argv, cwd=str(ROOT), stdout=out, timeout=120)

        driver = threading.Thread(target=run)
        driver.start()
        try:
            assert said.readline() == "ready\n"
            with pytest.raises(LabError, match="injecting NONSENSE into virtio-rng:aer=on: "):
                lab.inject(device, "NONSENSE")
            lab.inject(device, "POISON_TLP")
            assert said.readline() == "told 1\n"
        finally:
            driver.join()
