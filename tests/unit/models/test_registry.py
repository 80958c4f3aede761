# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Making models by name: what there is, and what a wrong name or option is answered."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyvmm import models
from pyvmm.models import ModelError
from pyvmm.models.edu import Edu


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
    assert told("nvme", {}) == "there is no model 'nvme'; models: edu, testdev"
    assert told("edue", {}) == (
        "there is no model 'edue', did you mean 'edu'? models: edu, testdev"
    )
    assert "there is no model" in told("", {})


def test_an_unknown_option_is_answered_with_what_there_is() -> None:
    assert told("edu", {"dmamask": 1}) == (
        "edu has no option 'dmamask', did you mean 'dma_mask'? options: dma_mask"
    )
    assert told("testdev", {"x": 1}) == "testdev has no option 'x'; options: none"


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
        "pyvmm.models.errors",
        "pyvmm.models.registry",
        "pyvmm.uapi",
        "pyvmm.uapi.lazy",
    }


def test_the_package_has_what_it_says() -> None:
    for name in models.__all__:
        assert getattr(models, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        models.nonsense  # noqa: B018
