# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Values given beside the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pyvmm.config import ConfigInvalid, VmConfig, load

WriteConfig = Callable[[str], Path]

TEXT = """\
kernel: a.elf
memory: 64M
devices:
  - &edu {model: edu, options: {x: 1}}
  - *edu
"""


@pytest.fixture
def loaded(write_config: WriteConfig) -> Callable[..., VmConfig]:
    path = write_config(TEXT)

    def with_overrides(**overrides: object) -> VmConfig:
        return load(path, overrides)

    return with_overrides


Loaded = Callable[..., VmConfig]


def test_text_means_what_it_would_in_the_file(loaded: Loaded) -> None:
    assert loaded(memory="128M").memory.size == 128 << 20
    assert loaded(cpus="4").cpus == 4
    assert loaded(timeout="2.5").timeout == 2.5
    assert loaded(devices="[]").devices == ()
    assert loaded(devices="[{model: testdev, slot: 03.0}]").devices[0].slot == 0x18


def test_text_stays_text_where_text_is_expected(loaded: Loaded) -> None:
    for text in ("12", "a: b", "[", "", "true", "quiet 'x"):
        assert loaded(cmdline=text).cmdline == text


def test_other_values_are_taken_as_they_are(loaded: Loaded) -> None:
    assert loaded(cpus=2).cpus == 2
    assert loaded(initrd=None).initrd is None
    assert loaded(devices=[{"model": "edu", "slot": 4}]).devices[0].slot == 0x20


def test_keys_reach_into_mappings_and_lists(loaded: Loaded) -> None:
    config = loaded(**{"memory.backing": "thp", "devices[1].slot": "04.0", "devices.0.slot": "5"})
    assert (config.memory.size, config.memory.backing) == (64 << 20, "thp")
    assert [device.slot for device in config.devices] == [0x28, 0x20]


def test_a_key_reaches_what_is_not_there_yet(loaded: Loaded) -> None:
    config = loaded(**{"devices[2].model": "testdev", "devices[2].options.depth": "3"})
    assert config.devices[2].model == "testdev"
    assert config.devices[2].options == {"depth": 3}


def test_an_aliased_value_is_changed_in_one_place_only(loaded: Loaded) -> None:
    config = loaded(**{"devices[0].options.x": "2"})
    assert [device.options for device in config.devices] == [{"x": 2}, {"x": 1}]


def test_relative_paths_start_from_the_current_directory(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = loaded(kernel="b.elf", serial="log")
    assert config.kernel == str(tmp_path / "elsewhere" / "b.elf")
    assert config.serial == str(tmp_path / "elsewhere" / "log")
    assert loaded(cpus="2").kernel == str(tmp_path / "a.elf")


def test_an_initrd_is_a_path_or_a_mapping_here_too(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    initrd = loaded(initrd="b.img").initrd
    assert initrd is not None
    assert (initrd.file, initrd.script) == (str(tmp_path / "elsewhere" / "b.img"), None)
    for overrides in ({"initrd": "{script: b.sh}"}, {"initrd.script": "b.sh"}):
        initrd = loaded(**overrides).initrd
        assert initrd is not None
        assert (initrd.file, initrd.script) == (None, str(tmp_path / "elsewhere" / "b.sh"))
    assert loaded(initrd="null").initrd is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kernel", "debian:6", "override: kernel: there is no kernel debian:6; there are debian:"),
        ("initrd.scrip", "x", "override: initrd.scrip: no such key; did you mean script?"),
        ("memory", "x", "override: memory.size: expected a size such as 64M"),
        ("memory", "100T", "override: memory.size: expected 64T at most, as far as addresses of"),
        ("memory.size", "x", "override: memory.size: expected a size such as 64M"),
        ("memoy", "1", "override: memoy: no such key; did you mean memory?"),
        ("cpus", "[", "override: cpus: expected a whole number from 1 to 255, got '['"),
        ("kernel.x", "1", "override: kernel.x: expected a mapping to hold this key"),
        ("devices.x", "1", "override: devices.x: expected a mapping to hold this key"),
        ("cpus[0]", "1", "override: cpus: expected a whole number from 1 to 255, got a list"),
        (
            "devices[3].model",
            "a",
            "override: devices[3]: there are devices[0] to devices[1], which"
            " count from 0; devices[2] adds one",
        ),
        ("devices[3]", "{model: a}", "override: devices[3]: there are devices[0] to devices[1], "),
        (
            "initrd.modules[1]",
            "a",
            "override: initrd.modules[1]: there are none yet; initrd.modules[0] adds the first",
        ),
        ("firmware", "b", "override: firmware: expected exactly one of kernel and firmware, got"),
        ("kernel", "a\udcffb", "override: kernel: the character U+DCFF is not allowed"),
        ("a..b", "1", "expected a key such as memory or devices[0].slot to override, got 'a..b'"),
        ("", "1", "expected a key such as memory or devices[0].slot to override, got ''"),
    ],
)
def test_a_bad_override_is_told_as_one(loaded: Loaded, key: str, value: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        loaded(**{key: value})
    assert str(caught.value).startswith(message)


def test_an_index_after_the_one_that_there_is(write_config: WriteConfig) -> None:
    path = write_config("kernel: a\ndevices: [{model: edu}]\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(path, {"devices[2].slot": "3"})
    assert str(caught.value) == (
        "override: devices[2]: there is devices[0] alone, counted from 0; devices[1] adds one"
    )


def test_the_files_own_errors_stay_the_files(write_config: WriteConfig) -> None:
    path = write_config("kernel: a\ncpus: x\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(path, {"memory": "1G"})
    assert str(caught.value).startswith(f"{path}:2: cpus: ")
    with pytest.raises(ConfigInvalid) as caught:
        load(write_config("3"), {"memory": "1G"})
    assert str(caught.value).startswith(f"{path}:1: expected a mapping")
