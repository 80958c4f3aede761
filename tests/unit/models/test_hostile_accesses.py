# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Whatever a guest does to a model's regions, no access raises, and the model goes on."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm import models
from pyvmm.models import edu as edu_model
from pyvmm.uapi.vfio import VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_NUM_REGIONS
from pyvmm.vfio import DeviceError

# (region, offset, size, bytes to write or None); places where registers are come up often.
places = st.one_of(st.integers(0, 0x100), st.integers(0, 1 << 21), st.integers())
accesses = st.tuples(
    st.integers(0, VFIO_PCI_NUM_REGIONS - 1),
    places,
    st.one_of(st.sampled_from((1, 2, 4, 8)), st.integers(0, 64)),
    st.one_of(st.none(), st.binary(max_size=64)),
)


@pytest.mark.parametrize("name", models.MODELS)
@given(st.lists(accesses, max_size=40))
def test_any_access(name: str, steps: list[tuple[int, int, int, bytes | None]]) -> None:
    with pytest.MonkeyPatch.context() as patch, models.create(name) as model:
        patch.setattr(edu_model, "DMA_SECONDS", 0)
        for region, offset, size, data in steps:
            length = size if data is None else len(data)
            info = model.region_info(region)
            inside = 0 <= offset < offset + length <= info.size
            try:
                if data is None:
                    assert len(model.region_read(region, offset, length)) == length
                else:
                    model.region_write(region, offset, data)
                    inside = inside and info.writable
                assert inside
            except DeviceError:
                # Only the user of the device can ask for what isn't in a region: no guest can.
                assert not inside or not info.writable
        done = threading.Event()
        model.start(lambda: None, lambda _: done.set())
        assert done.wait(30)
        assert not [kind for kind in model.counters if kind.endswith("in the model")]
        vendor = model.identity.vendor.to_bytes(2, "little")
        assert model.region_read(VFIO_PCI_CONFIG_REGION_INDEX, 0, 2) == vendor


@pytest.mark.parametrize("name", models.MODELS)
@given(
    index=st.integers(-2, 8),
    action=st.sampled_from((0, 8, 16, 32, 40, 64)),
    start=st.integers(-2, 70),
    count=st.integers(-2, 70),
    data=st.one_of(st.none(), st.lists(st.booleans(), max_size=5)),
)
def test_any_set_irqs_is_done_or_refused(
    name: str, index: int, action: int, start: int, count: int, data: list[bool] | None
) -> None:
    with models.create(name) as model:
        try:
            model.set_irqs(index, action, start, count, data)
        except DeviceError:
            return
        assert (action, count, data) == (32, 0, None), "nothing was on, only that has sense"


def test_many_threads_at_once() -> None:
    """Registers, interrupts and resets from several threads, as vCPUs and a server have them."""
    with models.create("testdev") as model:
        failures: list[BaseException] = []

        def hammer(seed: int) -> None:
            try:
                for i in range(200):
                    model.region_write(0, 0x08, i.to_bytes(4, "little"))
                    model.region_read(0, 0x0C, 4)
                    model.region_write(0, 0x2C, b"\1\0\0\0")
                    model.region_write(0, 0x14, bytes([i & 1, 0, 0, 0]))
                    model.region_write(0, 0x1000, bytes(4))
                    if i % 50 == seed:
                        model.reset()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert not [kind for kind in model.counters if kind.endswith("in the model")]
