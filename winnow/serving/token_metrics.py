"""What q* inside vLLM tells of each token, on its way to the job: a file that the engine appends to.

The engine writes a token's values before it draws that token. So whoever holds a finished completion finds
all of its values in the file; nothing has to be waited for, and nothing is matched by the place in a batch.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ENTRY = np.dtype([("seed", "<i8"), ("position", "<i4"), ("values", "<f4", (6,))])
"""A token: its completion's seed, its index there, and `qstar.diagnostics.METRICS`."""
PATTERN = "metrics-*.bin"


class Writer:
    """Appends to a file of this process's own.

    Args:
        folder: shared with the reader.
    """

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder) / PATTERN.replace("*", str(os.getpid()))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, seeds: list[int], positions: list[int], values: npt.NDArray[Any]) -> None:
        """Append a step's tokens: seeds and positions [rows], values [rows, 6]."""
        entries = np.empty(len(seeds), ENTRY)
        entries["seed"], entries["position"], entries["values"] = seeds, positions, values
        content = entries.tobytes()
        while content:
            content = content[os.write(self._file, content) :]


class Reader:
    """Reads what all writers have appended; memory holds what is not taken yet.

    Args:
        folder: shared with the writers.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._waiting: dict[int, dict[int, npt.NDArray[Any]]] = {}

    def take(self, seed: int, tokens: int) -> npt.NDArray[np.float64]:
        """The values of a finished completion, [tokens, 6].

        Raises:
            KeyError: a token that the engine has told nothing of.
        """
        self._catch_up()
        found = self._waiting.pop(seed)
        return np.array([found[position] for position in range(tokens)], np.float64).reshape(tokens, -1)

    def _catch_up(self) -> None:
        for path in self._folder.glob(PATTERN):
            start = self._read.get(path, 0)
            with path.open("rb") as file:
                file.seek(start)
                content = file.read()
            # The last entry may be half written.
            whole = len(content) // ENTRY.itemsize * ENTRY.itemsize
            self._read[path] = start + whole
            for entry in np.frombuffer(content[:whole], ENTRY):
                # Sent again to a server that was started anew, a completion's values come again.
                self._waiting.setdefault(int(entry["seed"]), {})[int(entry["position"])] = entry["values"]
