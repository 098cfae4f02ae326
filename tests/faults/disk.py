"""What a disk may hold after a power cut: the writes a program made, and which of them last.

The rules, which are those of POSIX and no kinder:

- A write, a truncation or a lengthening is sure to last once the *same file* was
  synced after it. Until then it may last or not, whole or in part, and one that
  came later may last where one that came before does not.
- A name (of a new file, of a renamed or a removed one) is sure to last once its
  *folder* was synced after it. To sync the file is not enough.
- Sectors of 512 bytes are written whole, and what is beside them stays as it is,
  which is what SQLite assumes as well.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
PAGE = 4096
#: How what was not synced is dealt with, in one state that is rebuilt.
MODES = ("dropped", "kept", "subset", "reordered", "pages", "sectors", "mixed")


class Write(NamedTuple):
    """Bytes written to a file."""

    path: str
    offset: int
    data: bytes


class Resize(NamedTuple):
    """A file cut, or lengthened by zeros."""

    path: str
    size: int


class Create(NamedTuple):
    """A new file, or a new folder."""

    path: str
    is_folder: bool = False


class Rename(NamedTuple):
    """A name given to another file, and taken from what had it."""

    path: str
    to: str


class Remove(NamedTuple):
    """A name taken away."""

    path: str


class Sync(NamedTuple):
    """A file, or a folder, synced."""

    path: str


class Answer(NamedTuple):
    """The program has told somebody that so many steps are done, in all."""

    steps: int


Event = Write | Resize | Create | Rename | Remove | Sync | Answer


class _File:
    """A file or a folder, under whatever names."""

    def __init__(self, content: bytes = b"", *, is_folder: bool = False) -> None:
        self.is_folder = is_folder
        self.durable = bytearray(content)
        self.pending: list[Write | Resize] = []


#: Names that change together: a name and what it leads to from then on.
_Change = list[tuple[str, "_File | None"]]


class Disk:
    """The files below one folder, which is on the disk for good.

    Args:
        root: the folder; events elsewhere are none of its business.
        files: what it holds at first, for good, by path.
    """

    def __init__(self, root: Path, files: dict[str, bytes] | None = None) -> None:
        self._root = str(root)
        self._durable: dict[str, _File] = {
            path: _File(content) for path, content in (files or {}).items()
        }
        self._names = dict(self._durable)
        self._changes: list[_Change] = []

    def apply(self, event: Event) -> None:
        """Take note of what the program did."""
        match event:
            case Write(path) | Resize(path):
                file = self._names.get(path)
                # Without a name it is gone after the cut, whatever is written to it.
                if file is not None:
                    file.pending.append(event)
            case Create(path, is_folder):
                self._change([(path, _File(is_folder=is_folder))])
            case Remove(path):
                self._change([(path, None)])
            case Rename(path, to):
                self._change([(path, None), (to, self._names[path])])
            case Sync(path):
                self._sync(path)
            case Answer():
                pass

    def _change(self, change: _Change) -> None:
        self._changes.append(change)
        _apply_names(self._names, change)

    def _sync(self, path: str) -> None:
        file = self._names.get(path)
        if path == self._root or (file is not None and file.is_folder):
            mine = [c for c in self._changes if any(os.path.dirname(n) == path for n, _ in c)]
            for names in mine:
                _apply_names(self._durable, names)
                self._changes.remove(names)
        elif file is not None:
            for change in file.pending:
                _change_bytes(file.durable, change)
            file.pending.clear()

    @property
    def is_settled(self) -> bool:
        """Whether all it was told to hold is there for good."""
        return not self._changes and not any(file.pending for file in self._names.values())

    def state(self, mode: str, chance: random.Random) -> dict[str, bytes]:
        """Return the files as a power cut at this moment may leave them, by path."""
        names = dict(self._durable)
        for renamed in self._changes:
            if mode == "kept" or (mode != "dropped" and chance.random() < 0.5):
                _apply_names(names, renamed)
        found: dict[str, bytes] = {}
        for path, file in names.items():
            if file.is_folder or not self._is_reachable(path, names):
                continue
            content = bytearray(file.durable)
            chosen = chance.choice(MODES[:-1]) if mode == "mixed" else mode
            for change in _survivors(file.pending, chosen, chance):
                _change_bytes(content, change)
            found[path] = bytes(content)
        return found

    def _is_reachable(self, path: str, names: dict[str, _File]) -> bool:
        folder = os.path.dirname(path)
        while folder != self._root:
            if folder not in names:
                return False
            folder = os.path.dirname(folder)
        return True


def _apply_names(names: dict[str, _File], change: _Change) -> None:
    for name, file in change:
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def _change_bytes(content: bytearray, change: Write | Resize) -> None:
    match change:
        case Write(_, offset, data):
            if len(content) < offset:
                content.extend(bytes(offset - len(content)))
            content[offset : offset + len(data)] = data
        case Resize(_, size):
            del content[size:]
            content.extend(bytes(size - len(content)))


def _survivors(
    pending: list[Write | Resize], mode: str, chance: random.Random
) -> list[Write | Resize]:
    """Return which of a file's unsynced changes last, in the order in which they take effect."""
    if mode == "dropped":
        return []
    if mode == "kept":
        return pending
    unit = {"pages": PAGE, "sectors": SECTOR}.get(mode)
    pieces = [piece for change in pending for piece in _pieces(change, unit)]
    chosen = [piece for piece in pieces if chance.random() < 0.5]
    if mode == "reordered":
        chance.shuffle(chosen)
    return chosen


def _pieces(change: Write | Resize, unit: int | None) -> list[Write | Resize]:
    """Return a write cut where units of the disk end; anything else whole."""
    if unit is None or isinstance(change, Resize):
        return [change]
    pieces: list[Write | Resize] = []
    offset, end = change.offset, change.offset + len(change.data)
    while offset < end:
        stop = min(end, (offset // unit + 1) * unit)
        data = change.data[offset - change.offset : stop - change.offset]
        pieces.append(Write(change.path, offset, data))
        offset = stop
    return pieces
