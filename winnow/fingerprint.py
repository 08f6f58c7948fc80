"""A fingerprint of the code behind a program: what would change its results, and nothing else.

Snakemake sees a rule's command but not the modules that the program imports. Each rule therefore
carries this hash as a parameter. It covers the program and, through its imports, the modules of
this library, as syntax trees without docstrings, help texts and messages: a comment, a touch or a
reworded error reruns nothing.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).parent
PLUMBING = frozenset(
    f"winnow.{name}"
    for name in (
        "command_line",
        "errors",
        "fingerprint",
        "journal",
        "jsonl",
        "progress",
        "config",
        "dataset_flags",
    )
)
"""Modules that carry records and messages but decide no result: improving them reruns nothing."""


def fingerprint(program: str | Path) -> str:
    """A short hash of `program` and of the library modules that it imports, directly or not."""
    program = Path(program)
    digest = hashlib.sha256(_code(program).encode())
    for module in sorted(closure(program)):
        digest.update(f"\n{module}\n{_code(_source(module))}".encode())
    return digest.hexdigest()[:16]


def closure(program: Path) -> set[str]:
    """Names of the library modules behind a program, `PLUMBING` left out."""
    seen: set[str] = set()
    waiting = list(_imports(program, ""))
    while waiting:
        module = waiting.pop()
        if module in seen or module in PLUMBING:
            continue
        seen.add(module)
        waiting.extend(_imports(_source(module), module))
    return seen


def _source(module: str) -> Path:
    base = LIBRARY.parent.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _imports(path: Path, importer: str) -> Iterator[str]:
    """The library's modules that a file imports, at its top or inside a function."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "winnow" and name != importer and _source(name).is_file():
                yield name


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            node.body = [n for n in node.body if not _is_text(n)] or [ast.Pass()]
        elif isinstance(node, ast.Call):
            _drop_words(node)
    return ast.unparse(tree)


def _drop_words(call: ast.Call) -> None:
    """Leave out what a call only says to people: help texts, error messages, log lines."""
    call.keywords = [k for k in call.keywords if k.arg not in ("help", "description")]
    speaks = isinstance(call.func, ast.Name) and call.func.id == "UserError"
    logs = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "log"
    if speaks or logs:
        call.args, call.keywords = [], []


def _is_text(node: ast.stmt) -> bool:
    """A bare string: a docstring, or the description under an attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
