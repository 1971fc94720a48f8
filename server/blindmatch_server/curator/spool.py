"""A column of an import, on disk in a file without a name: nothing is left if the process dies."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class Spool:
    """Rows of one type that are appended, then read back as one array."""

    def __init__(self, folder: Path, kind: str, width: int = 1) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._kind = np.dtype(kind)
        self._width = width
        self.rows = 0

    def append(self, part: npt.NDArray[Any]) -> None:
        """Append an array of shape (k, width), or (k,) for width 1."""
        data = np.ascontiguousarray(part, self._kind)
        self._file.write(data.data)
        self.rows += data.size // self._width

    def array(self) -> npt.NDArray[Any]:
        """All rows, as a read-only map of shape (rows, width), or (rows,) for width 1."""
        self._file.flush()
        if self.rows:
            flat = np.frombuffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ), self._kind)
        else:
            flat = np.empty(0, self._kind)
        return flat.reshape(-1, self._width) if self._width > 1 else flat

    def close(self) -> None:
        """Give the disk space back once the last array is gone."""
        self._file.close()
