"""Plug-ins: a scorer, an adapter or a format that a config names by its import path.

``my_project.scorers:Brevity`` is `Brevity` of the module my_project/scorers.py, which lies in the
environment or in the working directory. The working directory comes last on Python's path: nothing in
it stands in for the standard library or for Winnow. No module is imported that the config does not name.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from winnow import fingerprint as fingerprints
from winnow.errors import UserError, closest


def is_import_path(name: str) -> bool:
    """Whether a name stands for a plug-in; the names of built-ins have no colon."""
    return ":" in name


def load(kind: str, path: str) -> Any:
    """What an import path names.

    Args:
        kind: scorer, adapter or format, for the message.
        path: ``package.module:Name``.

    Raises:
        UserError: not an import path; no such module, or one that cannot be imported; no such name in it.
    """
    where = f"{kind} {path!r}"
    module_name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), attribute]):
        raise UserError(where, "not an import path", "package.module:Name", "correct the name")
    module = _module(module_name, where)
    if not hasattr(module, attribute):
        raise UserError(
            where,
            f"{_file(module)} has no {attribute!r}{closest(attribute, vars(module))}",
            "a name that stands in the module",
            "correct the name",
        )
    return getattr(module, attribute)


def unknown(kind: str, name: str, builtin: Iterable[str]) -> UserError:
    """The error for a name that is neither a built-in's nor an import path."""
    builtin = list(builtin)
    module, _, attribute = name.rpartition(".")
    near = f" (did you mean '{module}:{attribute}'?)" if module else closest(name, builtin)
    return UserError(
        f"{kind} {name!r}",
        f"unknown{near}",
        f"one of {', '.join(builtin)}, or the import path of your own: package.module:Name",
        "correct the name",
    )


def fingerprint(names: Iterable[str]) -> dict[str, str]:
    """Import path → hash of the code behind it, for the plug-ins among the names.

    Raises:
        UserError: the module cannot be imported, or has no Python source.
    """
    found = {}
    for name in filter(is_import_path, names):
        where = f"plug-in {name!r}"
        module = _module(name.partition(":")[0], where)
        file = getattr(module, "__file__", None) or ""
        if not file.endswith(".py"):
            raise UserError(where, f"{_file(module)}, not Python source", "a .py file", "name another module")
        try:
            found[name] = fingerprints.module_fingerprint(module.__name__, Path(file))
        except SyntaxError as error:
            raise UserError(where, f"imports {told(error)}", "modules in Python", "mend it") from error
    return found


def check_call(where: str, function: Any, call: str, *arguments: Any) -> None:
    """Check that a function can be called as Winnow will call it.

    Raises:
        UserError: not a function, or one that takes other arguments than `call` says.
    """
    if not callable(function):
        raise UserError(where, f"a {type(function).__name__} for {call}", "a function", "correct the plug-in")
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError) as error:
        raise UserError(
            where, f"cannot be called as {call}: {error}", call, "correct the function's arguments"
        ) from None


def told(error: BaseException) -> str:
    """An exception in a line: its type, its message, and the line of the plug-in that it passed last."""
    frames = traceback.extract_tb(error.__traceback__)
    foreign = (str(fingerprints.LIBRARY), sysconfig.get_path("stdlib"), "<frozen")
    own = [f for f in frames if not f.filename.startswith(foreign) and "site-packages" not in f.filename]
    at = f" ({_short(own[-1].filename)}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{at}"


def _short(path: str) -> str:
    """A path as seen from the working directory: a message in a record does not tell where that lies."""
    inside = Path(path).is_relative_to(Path.cwd())
    return str(Path(path).relative_to(Path.cwd())) if inside else path


def _module(name: str, where: str) -> ModuleType:
    working = Path.cwd()
    if str(working) not in sys.path:
        sys.path.append(str(working))
    own = fingerprints.source(working, name)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{name}.".startswith(f"{missing}."):
            raise _not_imported(where, name, error) from error
        if own is not None:
            raise _hidden(where, own, sys.modules.get(name.partition(".")[0])) from None
        raise UserError(
            where,
            f"no module {missing!r}{closest(missing, _neighbours(missing, working))}",
            f"a module in the environment or in the working directory, {working}",
            "correct the name, or start Snakemake in the folder that holds the module",
        ) from None
    except Exception as error:
        raise _not_imported(where, name, error) from error
    file = getattr(module, "__file__", None)
    if own is not None and not (file and own.samefile(file)):
        raise _hidden(where, own, module)
    return module


def _not_imported(where: str, name: str, error: Exception) -> UserError:
    return UserError(
        where,
        f"importing {name} raises {told(error)}",
        "a module that can be imported",
        f"mend it until `python -c 'import {name}'` passes here",
    )


def _hidden(where: str, own: Path, other: ModuleType | None) -> UserError:
    return UserError(
        where,
        f"{own} is hidden behind another module of that name: {_file(other)}",
        "a name that no other module has",
        "rename your module or its folder",
    )


def _neighbours(missing: str, working: Path) -> list[str]:
    """The modules that stand where one was looked for."""
    parent, _, _ = missing.rpartition(".")
    folders = getattr(sys.modules.get(parent), "__path__", []) if parent else [str(working)]
    found = [entry for folder in folders for entry in Path(folder).iterdir()]
    stems = [entry.stem for entry in found if entry.suffix == ".py" or entry.is_dir()]
    return [f"{parent}.{stem}" if parent else stem for stem in stems]


def _file(module: ModuleType | None) -> str:
    """Where a module lies: its file, the folder of a package without a file, or inside Python."""
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    return next((_short(place) for place in places if place), "a module built into Python")
