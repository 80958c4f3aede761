# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Models of one's own, named by the file that they are in: mine.py, or mine.py:Class.

The file is imported: what it does at its top level is done, with all that this process may do.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

from .errors import ModelError
from .options import parse_all

if TYPE_CHECKING:
    from types import ModuleType

    from .model import Model

# As in a VM's config: config/notation.py, which no model needs. A test compares them.
_NAME = re.compile(r"(.+\.py)(?::(\w+))?", re.S)


def is_own(name: str) -> bool:
    """Whether a model's name is that of a file."""
    return _NAME.fullmatch(name) is not None


def check(name: str) -> None:
    """Make sure that the file is there. Raises ModelError."""
    path, _ = _split(name)
    if not os.path.isfile(path):
        what = "is no file" if os.path.exists(path) else "no such file"
        raise ModelError(f"model {path}: {what}; check the path")


def create(name: str, options: Mapping[str, object] | None = None) -> Model:
    """Make the model. The caller closes it. Raises ModelError, also for all that the file raises.

    Options are parsed as the class says (Model.options), and are arguments of its constructor.
    """
    check(name)
    path, wanted = _split(name)
    model = _choose(_imported(path), path, wanted)
    arguments = parse_all(os.path.basename(name), model.options, options or {})
    try:
        return model(**arguments)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"model {name}: making a {model.__name__}: {_told(error)}") from error


def _split(name: str) -> tuple[str, str | None]:
    match = _NAME.fullmatch(name)
    assert match is not None
    return match[1], match[2]


def _imported(path: str) -> ModuleType:
    import importlib.util

    path = os.path.abspath(path)
    key = f"model {path}"
    if key in sys.modules:
        return sys.modules[key]
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.append(folder)  # for what lies beside it; last, where it hides nothing
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[key] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[key]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise ModelError(f"model {path}: importing it: {_told(error)}") from error
    return module


def _choose(module: ModuleType, path: str, wanted: str | None) -> type[Model]:
    from .model import Model

    def is_model(found: object) -> TypeGuard[type[Model]]:
        return isinstance(found, type) and issubclass(found, Model) and found is not Model

    # Not those that it has imported.
    there = [each for each in vars(module).values() if is_model(each)]
    ours = [each for each in dict.fromkeys(there) if each.__module__ == module.__name__]
    names = [each.__name__ for each in ours]
    if wanted is not None:
        found: object = getattr(module, wanted, None)
        if is_model(found):
            return found
        what = f"{wanted} is no class in it that derives from Model"
        raise ModelError(f"model {path}: {what}; such are: {', '.join(names) or 'none'}")
    if not ours:
        what = "there is no class in it that derives from Model"
        raise ModelError(f"model {path}: {what}; write one: class Mine(pyvmm.models.Model)")
    if len(ours) > 1:
        which = f"say which, as in {path}:{names[-1]}"
        raise ModelError(f"model {path}: there are several: {', '.join(names)}; {which}")
    return ours[0]


def _told(error: BaseException) -> str:
    """An error in one line, and where it came from."""
    where = ""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None:
        where = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
    what = " ".join(str(error).split())
    return f"{type(error).__name__}: {what}{where}; with -vv, there is a traceback"
