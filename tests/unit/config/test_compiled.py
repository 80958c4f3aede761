# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The cache of configs: a hit equals a miss, is quick to import, and nothing doubtful is a hit."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from pyvmm.config import compiled, load
from pyvmm.config.schema import VmConfig

WriteConfig = Callable[[str], Path]

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the configs that were parsed, not found in the cache."""
    from pyvmm.config import loader

    paths = []
    really = loader._parsed

    def parse(path: str, source: bytes, overrides: Mapping[str, object]) -> dict[str, object]:
        paths.append(path)
        return really(path, source, overrides)

    monkeypatch.setattr(loader, "_parsed", parse)
    return paths


def entry(cache_home: Path) -> Path:
    """The one entry there is."""
    (found,) = (cache_home / "pyvmm" / "configs").iterdir()
    return found


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_hit_equals_a_miss_for_every_config(path: Path, parsed: list[str]) -> None:
    missed = load(path)
    assert parsed == [str(path)]
    hit = load(path)
    assert parsed == [str(path)]
    assert hit == missed
    # And both have what the struct has, no more and no less.
    cpu = {**vars(hit.cpu), "cpuid": tuple(vars(mask) for mask in hit.cpu.cpuid)}
    devices = tuple(vars(device) for device in hit.devices)
    initrd = hit.initrd and vars(hit.initrd)
    parts = {"memory": vars(hit.memory), "cpu": cpu, "devices": devices, "initrd": initrd}
    plain = {**vars(hit), **parts}
    struct = msgspec.convert(plain, VmConfig)
    assert msgspec.to_builtins(struct) == plain
    for name in VmConfig.__struct_fields__:
        if name not in ("memory", "cpu", "initrd"):
            assert type(getattr(hit, name)) is type(getattr(struct, name)), name


def test_what_was_loaded_is_read_only(write_config: WriteConfig) -> None:
    path = write_config("kernel: /a\ndevices: [{model: edu}]\n")
    config = load(path)
    for part, name in ((config, "cpus"), (config, "cpsu"), (config.memory, "size")):
        with pytest.raises(AttributeError, match=f"^{name}: a config that was loaded can't be"):
            setattr(part, name, 2)
    with pytest.raises(AttributeError, match=r"^cpus: "):
        del config.cpus
    with pytest.raises(AttributeError, match="slto"):
        _ = config.devices[0].slto  # type: ignore[attr-defined]
    assert config == load(path)


def test_what_was_loaded_compares_and_shows_its_values(write_config: WriteConfig) -> None:
    config = load(write_config("kernel: /a\n"))
    plain: object = vars(config.memory)
    assert repr(config.memory) == "Loaded(size=67108864, backing='auto', prealloc=False)"
    assert "memory=Loaded(size=" in repr(config)
    assert config.memory == load(write_config("kernel: /b\n")).memory
    assert config != load(write_config("kernel: /b\n"))
    assert config.memory != plain


def test_what_the_processors_are_like_is_kept(write_config: WriteConfig, parsed: list[str]) -> None:
    path = write_config(
        "kernel: a\n"
        "cpu: {features: {avx2: false}, cpuid: [{leaf: 1, register: eax, set: 3}], tsc_khz: 2000}\n"
    )
    for _ in range(2):
        cpu = load(path).cpu
        assert (cpu.features, cpu.tsc_khz) == ({"avx2": False}, 2000)
        (mask,) = cpu.cpuid
        assert (mask.leaf, mask.subleaf, mask.register) == (1, None, "eax")
        assert (mask.clear, mask.set) == (0, 3)
    assert len(parsed) == 1


def test_a_changed_file_misses(write_config: WriteConfig, parsed: list[str]) -> None:
    path = write_config("kernel: a\ncpus: 1\n")
    load(path)
    write_config("kernel: a\ncpus: 2\n")
    assert load(path).cpus == 2
    assert len(parsed) == 2


def test_a_copy_elsewhere_misses(
    write_config: WriteConfig, parsed: list[str], tmp_path: Path
) -> None:
    path = write_config("kernel: a\n")
    load(path)
    (tmp_path / "sub").mkdir()
    copy = tmp_path / "sub" / path.name
    copy.write_bytes(path.read_bytes())
    assert load(copy).kernel == str(tmp_path / "sub" / "a")
    assert len(parsed) == 2


@pytest.mark.parametrize("what", ["version", "home", "code"])
def test_another_maker_misses(
    write_config: WriteConfig,
    parsed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    what: str,
) -> None:
    path = write_config("kernel: ~/a\n")
    load(path)
    if what == "version":
        monkeypatch.setattr(compiled, "__version__", "9.9")
    elif what == "home":
        monkeypatch.setenv("HOME", "/home/other")
    else:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "schema.py").write_text("changed")
        monkeypatch.setattr(compiled, "__file__", str(tmp_path / "code" / "compiled.py"))
    load(path)
    assert len(parsed) == 2


def test_overrides_are_kept_apart(write_config: WriteConfig, parsed: list[str]) -> None:
    path = write_config("kernel: a\n")
    given: list[dict[str, object] | None] = [
        None, {"cpus": "2"}, {"cpus": 2}, {"timeout": 2.0}, {"timeout": None}, {"cmdline": "2"},
        {"cpus": "2", "cmdline": "2"},
    ]  # fmt: skip
    missed = [load(path, overrides) for overrides in given]
    assert [config.cpus for config in missed] == [1, 2, 2, 1, 1, 1, 2]
    assert [config.cmdline for config in missed] == ["", "", "", "", "", "2", "2"]
    assert len(parsed) == len(given)
    assert [load(path, overrides) for overrides in given] == missed
    assert load(path, {}) == missed[0]
    assert len(parsed) == len(given)


def test_overrides_in_another_directory_miss(
    write_config: WriteConfig, parsed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config("kernel: a\n")
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert load(path, {"kernel": "b"}).kernel == str(folder / "b")
    assert len(parsed) == 2


def test_overrides_that_are_no_scalars_are_not_kept(
    write_config: WriteConfig, cache_home: Path
) -> None:
    path = write_config("kernel: a\n")
    assert load(path, {"devices": [{"model": "edu"}]}).devices[0].model == "edu"
    assert not cache_home.exists()


def test_any_damage_is_noticed(
    write_config: WriteConfig, cache_home: Path, parsed: list[str]
) -> None:
    path = write_config("kernel: a\n")
    good = load(path)
    file = entry(cache_home)
    whole = file.read_bytes()
    source = path.read_bytes()
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes((whole[position] ^ 1,)) + whole[position + 1 :])
        assert compiled.lookup(str(path), source) is None, position
        file.write_bytes(whole[:position])
        assert compiled.lookup(str(path), source) is None, position
        file.write_bytes(whole[:position] + bytes(len(whole) - position))
        assert compiled.lookup(str(path), source) is None or not any(whole[position:])
    file.write_bytes(whole + b"\0")
    assert compiled.lookup(str(path), source) is None
    # And the next load puts it right.
    assert load(path) == good
    assert file.read_bytes() == whole
    assert load(path) == good
    assert len(parsed) == 2


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_entry_others_can_write_is_not_believed(
    write_config: WriteConfig, cache_home: Path, mode: int
) -> None:
    path = write_config("kernel: a\n")
    load(path)
    entry(cache_home).chmod(mode)
    assert compiled.lookup(str(path), path.read_bytes()) is None
    entry(cache_home).chmod(0o644)
    assert compiled.lookup(str(path), path.read_bytes()) is not None


def test_a_folder_others_can_write_is_not_believed(
    write_config: WriteConfig, cache_home: Path, parsed: list[str]
) -> None:
    path = write_config("kernel: a\n")
    load(path)
    entry(cache_home).parent.chmod(0o770)
    assert compiled.lookup(str(path), path.read_bytes()) is None
    before = entry(cache_home).stat()
    load(path)
    after = entry(cache_home).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(parsed) == 2


def test_another_users_entry_is_not_believed(
    write_config: WriteConfig, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config("kernel: a\n")
    load(path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert compiled.lookup(str(path), path.read_bytes()) is None


def test_a_link_for_an_entry_is_not_followed(
    write_config: WriteConfig, cache_home: Path, tmp_path: Path
) -> None:
    path = write_config("kernel: a\n")
    load(path)
    file = entry(cache_home)
    file.rename(tmp_path / "moved")
    file.symlink_to(tmp_path / "moved")
    assert compiled.lookup(str(path), path.read_bytes()) is None


def test_folders_and_entries_are_made_for_this_user_alone(
    write_config: WriteConfig, cache_home: Path
) -> None:
    load(write_config("kernel: a\n"))
    assert entry(cache_home).stat().st_mode & 0o777 == 0o600
    for folder in (cache_home, cache_home / "pyvmm", cache_home / "pyvmm" / "configs"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_nothing_is_made_in_another_users_home(
    write_config: WriteConfig, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    load(write_config("kernel: a\n"))
    assert not cache_home.exists()


def test_an_entry_that_cannot_be_written_is_nobodys_trouble(
    write_config: WriteConfig, cache_home: Path
) -> None:
    path = write_config("kernel: /a\n")
    cache_home.write_text("a file where the folder would be")
    assert load(path).kernel == "/a"
    assert cache_home.read_text() == "a file where the folder would be"


def test_a_write_that_fails_leaves_nothing(
    write_config: WriteConfig, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: str, target: str) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        load(write_config("kernel: /a\n"))
    assert list((cache_home / "pyvmm" / "configs").iterdir()) == []


def test_a_path_too_long_for_a_name_is_parsed_each_time(tmp_path: Path, cache_home: Path) -> None:
    path = tmp_path / ("x" * 200) / "vm.yaml"
    path.parent.mkdir()
    path.write_text("kernel: /a\n")
    assert load(path).kernel == load(path).kernel == "/a"
    assert not cache_home.exists()


def test_the_folder_does_not_grow_without_end(write_config: WriteConfig, cache_home: Path) -> None:
    path = write_config("kernel: /a\n")
    load(path)
    folder = entry(cache_home).parent
    for number in range(compiled.MAX_ENTRIES):
        (folder / f"%2Fold%2F{number}.yaml").touch()
    write_config("kernel: /b\n")
    load(path)
    assert entry(cache_home).name.endswith("vm.yaml")


def test_two_paths_never_share_an_entry() -> None:
    assert compiled._place("/a%2Fb") != compiled._place("/a/b")


def test_without_an_absolute_cache_home_it_is_in_the_home(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert compiled._place("/a")[0] == "/home/me/.cache/pyvmm/configs"


def test_a_hit_imports_nothing_heavy(write_config: WriteConfig) -> None:
    path = write_config("kernel: a\ndevices: [{model: edu, options: {a: [1, x]}}]\n")
    load(path)
    script = (
        "import sys; from pyvmm.config import load\n"
        f"config = load({str(path)!r})\n"
        "assert config.devices[0].options == {'a': [1, 'x']}\n"
        "heavy = 'yaml msgspec re typing dataclasses pathlib json hashlib zlib inspect argparse'\n"
        "print(sorted(set(heavy.split()) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_what_is_kept_is_plain_data(write_config: WriteConfig, cache_home: Path) -> None:
    path = write_config("kernel: /a\n")
    load(path)
    plain = compiled.lookup(str(path), path.read_bytes())
    assert plain is not None
    assert marshal.loads(marshal.dumps(plain)) == plain
