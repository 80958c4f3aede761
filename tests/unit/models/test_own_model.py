# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Models in files of one's own: which class is made, and what is told of those that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyvmm import models
from pyvmm.config import notation
from pyvmm.models import ModelError
from pyvmm.models.own_model import is_own

COUNTER = """
from pyvmm.models import Bar, Identity, Model, Msi
from pyvmm.models.edu import Edu
from pyvmm.models.options import Number

class Counter(Model):
    identity = Identity(0x1234, 0x0001, class_code=0xFF0000)
    capabilities = (Msi(1),)
    options = (Number("start", 3, 100, "what it counts from"),)
    bar0 = Bar(0, 4096)
    COUNT = bar0.register(0x04)

    def __init__(self, start=3):
        super().__init__()
        self.COUNT = start
"""
ANOTHER = """
class Another(Counter):
    identity = Identity(0x1234, 0x0002, class_code=0xFF0000)
"""

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "counter.py") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def read(model: models.Model) -> int:
    return int.from_bytes(model.region_read(0, 4, 4), "little")


def test_the_one_class_in_it(write: Write) -> None:
    with models.create(write(COUNTER)) as model:
        assert model.name == "counter"
        assert read(model) == 3
        assert model.region_read(7, 0, 4) == bytes.fromhex("34120100")


def test_options_are_as_the_class_says(write: Write) -> None:
    path = write(COUNTER)
    for start in (7, "7", "0x7"):
        with models.create(path, {"start": start}) as model:
            assert read(model) == 7
    with pytest.raises(ModelError, match=r"counter\.py: option start: expected a number from 0 to"):
        models.create(path, {"start": 101})
    with pytest.raises(ModelError, match=r"counter\.py has no option 'stat', did you mean 'start'"):
        models.create(path, {"stat": 1})


def test_one_of_several(write: Write) -> None:
    path = write(COUNTER + ANOTHER)
    with models.create(f"{path}:Another") as model:
        assert model.name == "another"
    with pytest.raises(ModelError, match=r"several: Counter, Another; say which, as in .*:Another"):
        models.create(path)
    with pytest.raises(
        ModelError, match="Nobody is no class in it that derives from Model; such are: Counter, A"
    ):
        models.create(f"{path}:Nobody")
    with pytest.raises(ModelError, match="Identity is no class in it that derives from Model"):
        models.create(f"{path}:Identity")
    with models.create(f"{path}:Edu") as model:
        assert model.name == "edu"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "there is no class in it that derives from Model"),
        ("x = \n", r"importing it: SyntaxError: invalid syntax"),
        ("\n1 / 0\n", r"importing it: ZeroDivisionError: division by zero \(.*counter\.py:2\)"),
        ("import sys\nsys.exit(3)\n", "importing it: SystemExit: 3"),
        (
            COUNTER + "        raise RuntimeError('two\\nlines')\n",
            r"making a Counter: RuntimeError: two lines \(.*counter\.py:\d+\)",
        ),
        (COUNTER.replace("Bar(0, 4096)", "Bar(9, 4096)"), "making a Counter: ValueError: BAR 9: "),
    ],
)
def test_files_that_are_wrong(write: Write, text: str, says: str) -> None:
    path = write(text)
    models.check(path)
    for _ in range(2):
        with pytest.raises(ModelError, match=says) as caught:
            models.create(path)
        assert str(caught.value).startswith(f"model {path}")
        assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    for name, says in (("mine.py", "no such file"), ("folder.py:Class", "is no file")):
        for use in (models.check, models.create):
            with pytest.raises(ModelError, match=f"{says}; check the path"):
                use(str(tmp_path / name), None)


def test_what_lies_beside_it_can_be_imported(write: Callable[..., str]) -> None:
    write("START = 42\n", "beside_the_model.py")
    text = "from beside_the_model import START\n" + COUNTER.replace("start=3", "start=START")
    with models.create(write(text)) as model:
        assert read(model) == 42


@given(
    st.text("ab./:~ py", max_size=12) | st.sampled_from(["a.py", "./a.py:B", "../b.py", "~/a.py"])
)
def test_configs_know_such_names_too(name: str) -> None:
    written = notation.model(name, "/base")
    assert isinstance(written, str)
    assert is_own(name) == is_own(written)
    if is_own(name):
        assert written.startswith("/")
    else:
        assert written == name
