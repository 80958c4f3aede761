# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kernel modules: which ones a module needs, and a module tree that modprobe can use.

Read from the modules' own .modinfo (`depends=`, `softdep=`, `alias=`), so that no depmod has to
be there. Names are the kernel's: with underscores, whatever the file is called.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .decompress import decompress
from .errors import DebianError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SUFFIX = re.compile(r"\.ko(?:\.(?:gz|xz|zst))?\Z")
_NOT_IN_TREE = "updates"

BUILT_IN = "modules.builtin"
"""The file of a module tree that names what is no module: packages have it, unlike the indexes."""


class Module(NamedTuple):
    """A module, uncompressed, and where it lies below /lib/modules/RELEASE."""

    name: str
    path: str
    image: bytes

    def values(self, key: str) -> list[str]:
        """The values of a key of .modinfo, in their order."""
        found = re.findall(rb"(?:^|\0)%s=([^\0]*)" % re.escape(key.encode()), self.image)
        return [value.decode(errors="replace") for value in found]

    @property
    def depends(self) -> list[str]:
        """The modules whose symbols it uses."""
        names = ",".join(self.values("depends")).split(",")
        return [canonical(name) for name in names if name]

    @property
    def soft_depends(self) -> list[str]:
        """The modules it would like to find loaded: the `pre:` part of its soft dependencies."""
        names: list[str] = []
        for value in self.values("softdep"):
            part = re.search(r"\bpre:\s*(.*?)\s*(?:\bpost:|\Z)", value)
            names += part[1].split() if part else []
        return [canonical(name) for name in names]


class ModuleSet:
    """The modules below a folder such as /lib/modules/RELEASE; each is read once, when needed.

    Modules in `updates` go before others of their name, as depmod has it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}
        for path in sorted(folder.rglob("*.ko*")):
            name = module_name(path)
            if name and (name not in self._paths or _NOT_IN_TREE in path.parts):
                self._paths[name] = path
        self._modules: dict[str, Module] = {}
        built_in = folder / BUILT_IN
        lines = built_in.read_text().split() if built_in.exists() else []
        self.built_in = frozenset(filter(None, (module_name(Path(line)) for line in lines)))

    def __contains__(self, name: str) -> bool:
        return canonical(name) in self._paths

    def __getitem__(self, name: str) -> Module:
        name = canonical(name)
        if name not in self._modules:
            path = self._paths[name]
            where = _SUFFIX.sub(".ko", str(path.relative_to(self._folder)))
            self._modules[name] = Module(name, where, decompress(path.read_bytes(), str(path)))
        return self._modules[name]

    def __iter__(self) -> Iterator[Module]:
        return (self[name] for name in self._paths)

    def closure(
        self, names: Iterable[str], *, wanted_by: str, optional: Iterable[str] = ()
    ) -> list[Module]:
        """Modules with all they need, in an order in which insmod can load them.

        What is built into the kernel is left out; so are missing ones that are optional, or that
        others depend on softly. Raises DebianError if another one is missing, which says that
        wanted_by, or the module that depends on it, needs it.
        """
        order: dict[str, Module] = {}

        def need(name: str, wanted_by: str, soft: bool) -> None:
            if name in order or name in self.built_in:
                return
            if name not in self:
                if soft:
                    return
                raise self._missing(name, wanted_by)
            module = self[name]
            for wish in module.soft_depends:
                for other in self._meant(wish):
                    if other != name:
                        need(other, name, soft=True)
            for other in module.depends:
                need(other, name, soft=False)
            order[name] = module

        for name in names:
            need(canonical(name), wanted_by, soft=False)
        for name in optional:
            need(canonical(name), wanted_by, soft=True)
        return list(order.values())

    def _meant(self, name: str) -> Iterable[str]:
        """The modules that a soft dependency means: crypto_crc32c is all kinds of crc32c there are.

        Those have it as an alias. Of all modules that would be many to read, so only those are
        looked at whose own names begin with it.
        """
        if name in self or name in self.built_in:
            return [name]
        stem = name.removeprefix("crypto_") + "_"
        kinds = [other for other in self._paths if other.startswith(stem)]
        return [kind for kind in kinds if name in map(canonical, self[kind].values("alias"))]

    def _missing(self, name: str, wanted_by: str) -> DebianError:
        import difflib

        near = difflib.get_close_matches(name, [*self._paths, *self.built_in], n=1)
        return DebianError(
            f"the kernel in {self._folder} has no module {name}, which {wanted_by} needs",
            f"did you mean {near[0]}?" if near else "choose another kernel",
        )


def canonical(name: str) -> str:
    """The kernel's own name of a module."""
    return name.replace("-", "_")


def module_name(path: Path) -> str:
    """The name of the module in a file, or "" if it can't be one."""
    name, count = _SUFFIX.subn("", path.name)
    return canonical(name) if count else ""


def write_tree(modules: Iterable[Module], folder: Path) -> None:
    """Write modules, uncompressed, and the index files of modprobe, below folder."""
    for path, data in tree(modules).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def tree(modules: Iterable[Module]) -> dict[str, bytes]:
    """What is below /lib/modules/RELEASE for modprobe: the modules, and its index files."""
    by_name = {module.name: module for module in modules}
    files: dict[str, bytes] = {}
    dependencies, aliases, soft = [], [], []
    for name, module in by_name.items():
        files[module.path] = module.image
        needed = [by_name[other].path for other in _all_needed(module, by_name)]
        dependencies.append(" ".join([f"{module.path}:", *needed]) + "\n")
        aliases += [f"alias {alias} {name}\n" for alias in module.values("alias")]
        soft += [f"softdep {name} {value}\n" for value in module.values("softdep")]
    for index, lines in (("dep", dependencies), ("alias", aliases), ("softdep", soft)):
        files[f"modules.{index}"] = "".join(lines).encode()
    return files


def _all_needed(module: Module, modules: Mapping[str, Module]) -> list[str]:
    """What module depends on, directly or not, with the one to be loaded first at the end."""
    order: dict[str, None] = {}

    def visit(module: Module) -> None:
        for other in module.depends:
            if other in modules and other not in order:
                visit(modules[other])
                order[other] = None

    visit(module)
    return [*reversed(order)]
