"""Ids of new entries: each is given once in a folder of lists, whatever becomes of the list it was given to.

    FOLDER/next_id          the next id, a line; on the disk before the ids below it are used
    FOLDER/.next_id.lock    held while it is read and replaced

An import that ends before its list is in place leaves a gap. Without the file, as in folders of older
versions, ids go on after those of the lists that are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from blindmatch_protocol.contract.steps import UNCONFIRMED_ID

from blindmatch_server.curator.hashlist import FIRST_ID, open_list
from blindmatch_server.curator.source import ListError, ListFileError
from blindmatch_server.storage.files import StorageError, hold, replace_file

NEXT_ID: Final = "next_id"
ROUND: Final = 1 << 32
"""Where ids that were given are not known, the next one is a multiple of this: above all that were.

Versions without `next_id` gave ids from 1 on, one by one, to entries that they wrote; so many entries are a
list file of more than 200 GiB."""
_LOCK: Final = f".{NEXT_ID}.lock"
_WAIT_SECONDS: Final = 60.0
_DIGITS: Final = 20


def take_ids(folder: Path, count: int, least: int = FIRST_ID) -> int:
    """Take `count` ids that no entry of a list in `folder` ever had.

    Args:
        count: 0 to raise the next id to `least`, and to see it.
        least: the first of them is not below this.

    Returns:
        The first of them; that they are taken is on the disk.

    Raises:
        ListError: if the folder cannot be written, or there are no more ids.
        ListFileError: if `next_id` holds no number.
        StorageError: if the file system refuses.
    """
    busy = ListError(f"other imports into {folder.name} take ids: wait for their end, then try again")
    with hold(folder / _LOCK, busy, ListError, _WAIT_SECONDS):
        known = _read(folder)
        first = max(known or _after_lists(folder), least)
        if first + count > UNCONFIRMED_ID:
            raise ListError(f"{folder.name} has no {count} ids left: begin a new deployment")
        if first + count != known:
            replace_file(folder / NEXT_ID, f"{first + count}\n".encode())
    return first


def is_counted(folder: Path) -> bool:
    """Is the next id of the folder kept? Else earlier lists that are gone may have had any up to `ROUND`."""
    return (folder / NEXT_ID).exists()


def round_up(next_id: int) -> int:
    """The first multiple of `ROUND` that is not below `next_id`."""
    return -(-next_id // ROUND) * ROUND


def _read(folder: Path) -> int | None:
    try:
        text = (folder / NEXT_ID).read_text("ascii")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"{NEXT_ID} of {folder.name} cannot be read: {error}") from error
    number = text.removesuffix("\n")
    if not (number.isdecimal() and len(number) <= _DIGITS and FIRST_ID <= int(number) <= UNCONFIRMED_ID):
        raise ListFileError(
            f"{NEXT_ID} of {folder.name} must hold one number: restore it from a copy; without one, write "
            "a number above every id that was ever given"
        )
    return int(number)


def _after_lists(folder: Path) -> int:
    """The id after those of the lists in `folder`; rounded up if one of them cannot be read."""
    after = FIRST_ID
    unreadable = False
    for path in folder.glob("*.list"):
        try:
            with open_list(path, verify=False) as listed:
                after = max(after, listed.footer.next_id)
        except ListFileError:
            unreadable = True
    return round_up(after) if unreadable else after
