# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Making models by name: what there is, and what a wrong name or option is answered."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from pyvmm import models
from pyvmm.models import Model, ModelError
from pyvmm.models.edu import Edu
from pyvmm.models.nvme import Nvme
from pyvmm.models.options import as_text
from pyvmm.models.virtio import VirtioBlk


@pytest.mark.parametrize("name", models.MODELS)
def test_every_model_can_be_made(name: str) -> None:
    with models.create(name) as model:
        assert model.name == name
        assert models.MODELS[name].description
    assert models.check(name, {}) == {}


@pytest.mark.parametrize(
    ("value", "mask"), [(0xFF, 0xFF), ("0xff", 0xFF), ("255", 0xFF), (0, 0), ((1 << 64) - 1, -1)]
)
def test_options_are_numbers_or_text(value: object, mask: int) -> None:
    with models.create("edu", {"dma_mask": value}) as edu:
        assert isinstance(edu, Edu)
        assert edu.dma_mask == mask & (1 << 64) - 1


def test_options_have_the_same_defaults_everywhere() -> None:
    with models.create("edu") as by_name, Edu() as direct:
        assert isinstance(by_name, Edu)
        assert by_name.dma_mask == direct.dma_mask
        assert models.MODELS["edu"].options[0].default == direct.dma_mask


def told(name: object, options: dict[str, object]) -> str:
    with pytest.raises(ModelError) as made:
        models.create(name, options)  # type: ignore[arg-type]
    with pytest.raises(ModelError) as checked:
        models.check(name, options)  # type: ignore[arg-type]
    assert str(made.value) == str(checked.value)
    return str(made.value)


def test_an_unknown_model_is_answered_with_what_there_is() -> None:
    there = f"{', '.join(sorted(models.MODELS))}, or a file such as ./mine.py"
    assert told("e1000", {}) == f"there is no model 'e1000'; models: {there}"
    assert told("edue", {}) == f"there is no model 'edue', did you mean 'edu'? models: {there}"
    assert "there is no model" in told("", {})


def test_an_unknown_option_is_answered_with_what_there_is() -> None:
    assert told("edu", {"dmamask": 1}) == (
        "edu has no option 'dmamask', did you mean 'dma_mask'? options: dma_mask"
    )
    assert told("testdev", {"x": 1}) == "testdev has no option 'x'; options: none"


@pytest.mark.parametrize(
    ("option", "value", "parsed"),
    [
        ("size", 4096, 4096),
        ("size", "64M", 64 << 20),
        ("size", "1 giB", 1 << 30),
        ("block_size", "4096", 4096),
        ("block_size", 512, 512),
        ("read_only", True, True),
        ("read_only", "False", False),
        ("serial", 1234, "1234"),
        ("serial", "S 1", "S 1"),
        ("files", "a.img,/b", ("a.img", "/b")),
        ("files", ["a.img", "/b"], ("a.img", "/b")),
    ],
)
def test_kinds_of_options(option: str, value: object, parsed: object) -> None:
    assert models.check("nvme", {option: value}) == {option: parsed}
    assert models.check("nvme", {option: as_text(value)}) == {option: parsed}


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("size", 0, "a size such as 512M or 1GiB"),
        ("size", "", "a size such as 512M or 1GiB"),
        ("size", "M", "a size such as 512M or 1GiB"),
        ("size", "64iB", "a size such as 512M or 1GiB"),
        ("size", "1 gib", "a size such as 512M or 1GiB"),
        ("size", "-1M", "a size such as 512M or 1GiB"),
        ("size", "99999999999T", "a size such as 512M or 1GiB"),
        ("block_size", 520, "one of 512, 4096"),
        ("block_size", True, "one of 512, 4096"),
        ("read_only", "maybe", "true or false"),
        ("read_only", 1, "true or false"),
        ("serial", "s" * 21, "up to 20 printable ASCII characters"),
        ("serial", "\n", "up to 20 printable ASCII characters"),
        ("files", "", "paths, with commas between them but not in them"),
        ("files", ["a,b"], "paths, with commas between them but not in them"),
        ("files", 3, "paths, with commas between them but not in them"),
    ],
)
def test_bad_values_of_other_kinds(option: str, value: object, expected: str) -> None:
    assert told("nvme", {option: value}) == (
        f"nvme: option {option}: expected {expected}, got {value!r}"
    )


def test_a_drive_of_virtio_is_one_file() -> None:
    for path in ("a,b.img", "/dev/sda"):
        assert models.check("virtio-blk", {"file": path}) == {"file": path}
    for value in ("", ["a"], ["a", "b"], 3, None, "a\0"):
        assert told("virtio-blk", {"file": value}) == (
            f"virtio-blk: option file: expected a path, got {value!r}"
        )


@pytest.mark.parametrize(("name", "model"), [("nvme", Nvme), ("virtio-blk", VirtioBlk)])
def test_the_defaults_of_drives_options_are_the_class_s(name: str, model: type[Model]) -> None:
    parameters = inspect.signature(model).parameters
    options = {option.name: option for option in models.MODELS[name].options}
    assert {"name", *options} == set(parameters)
    for option in options.values():
        assert parameters[option.name].default == option.default
    shown = [option.shown for option in options.values()]
    assert shown[:5] == ["none", "64M", "512", "false", "none"]


@pytest.mark.parametrize("value", ["lots", "", -1, 1 << 64, 1.5, None, True, [1], "0x"])
def test_a_bad_value_is_answered_with_what_was_expected(value: object) -> None:
    assert told("edu", {"dma_mask": value}) == (
        f"edu: option dma_mask: expected a number from 0 to 0xffffffffffffffff, got {value!r}"
    )


def test_asking_what_there_is_imports_no_model() -> None:
    program = """
import sys
from pyvmm import models
models.check("edu", {"dma_mask": 1})
print(*(name for name in sys.modules if name.startswith("pyvmm.")))
models.Model, models.Bar, models.Msi
"""
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert set(output.split()) == {
        "pyvmm.models",
        "pyvmm.models.defaults",
        "pyvmm.models.errors",
        "pyvmm.models.options",
        "pyvmm.models.own_model",
        "pyvmm.models.registry",
        "pyvmm.uapi",
        "pyvmm.uapi.lazy",
    }


def test_the_package_has_what_it_says() -> None:
    for name in models.__all__:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        models.nonsense  # noqa: B018
