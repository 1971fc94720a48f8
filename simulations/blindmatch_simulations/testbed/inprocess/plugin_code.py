"""Tells the code of plug-ins from all other: their files, modules beside them, and packages.

A module beside a plug-in file counts as the plug-in's own if it was loaded after the file was added: what was
loaded before is the command's. The standard library, installed packages and blindmatch's own rooms never
count, wherever the file lies; a package with an entry point does, from its own folder on.
"""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Final

INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
"""Folders of packages that were installed."""
_ROOMS: Final = ("protocol", "proofs", "client", "server", "simulations")
_STANDARD: Final = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib"))


class PluginCode:
    """Files whose code is held to bounds."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[Path] = set()
        self._before: set[str] = set()
        """Files in these folders that were loaded before the plug-in."""
        self._known: dict[str, bool] = {}

    def add(self, file: str) -> None:
        """Add a file, and what is imported from its folder from now on."""
        if file not in self._files:
            self.add_folder(Path(file).parent)
            self._files.add(file)
            self._known.clear()

    def add_folder(self, folder: Path) -> None:
        """Add what is imported from a folder from now on."""
        folder = folder.resolve()
        if folder in self._folders:
            return
        loaded = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        # what a plug-in added already is its own, also beside another one
        self._before |= {file for file in loaded if isinstance(file, str) and not self.has(file)}
        self._folders.add(folder)
        self._known.clear()

    def has(self, file: str) -> bool:
        """Is the code in a file a plug-in's?"""
        if file not in self._known:
            self._known[file] = self._is_of_plugin(file)
        return self._known[file]

    def _is_of_plugin(self, file: str) -> bool:
        if file in self._files:
            return True
        if file in self._before or file.startswith("<") or is_standard(file):
            return False
        path = Path(file).resolve()
        if any(path.is_relative_to(room) for room in _rooms()):
            return False
        beside = (folder for folder in self._folders if path.is_relative_to(folder))
        return any(INSTALLED.isdisjoint(path.relative_to(folder).parts) for folder in beside)

    def outermost(self, frame: FrameType | None) -> FrameType | None:
        """Return the outermost frame of a plug-in's code on a stack; None if there is none."""
        found = None
        while frame is not None:
            found = frame if self.has(frame.f_code.co_filename) else found
            frame = frame.f_back
        return found

    def is_calling(self, frame: FrameType | None) -> bool:
        """Does a plug-in's own code call a frame, itself or by the standard library?

        Frames of this package's own modules are passed over.
        """
        while frame is not None:
            file = frame.f_code.co_filename
            if self.has(file):
                return True
            if not _is_beside_this(file) and not is_standard(file):
                return False
            frame = frame.f_back
        return False


@cache
def is_standard(file: str) -> bool:
    """Is a file of the standard library, or code that is in no file?"""
    if file.startswith("<"):
        return True
    path = str(Path(file).resolve())
    return path.startswith(_STANDARD) and "site-packages" not in path


@cache
def _rooms() -> tuple[Path, ...]:
    specs = (find_spec(f"blindmatch_{room}") for room in _ROOMS)
    return tuple(Path(spec.origin).resolve().parent for spec in specs if spec and spec.origin)


@cache
def _is_beside_this(file: str) -> bool:
    names = {"plugin_bounds.py", "plugin_code.py", "plugin_threads.py", "bounded_streams.py"}
    return Path(file).name in names and Path(file).parent == Path(__file__).parent
