"""A helper process of `crew`: computes rows of batches until its standard input ends.

    question   lengths of name and secret, rows (4 bytes each); name, secret; hashes, ids, salts
    answer     width of a row (4 bytes), or 0 and the length of a reason (4 bytes); rows, or the reason

Numbers are big-endian, ids little-endian. The name is ``module:function``, which the program that started
this process chose.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from struct import Struct
from typing import IO, Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract.entries import HASH_BYTES, SALT_BYTES, EntryBatch

_QUESTION: Final = Struct(">III")
_NUMBER: Final = Struct(">I")
_ID_BYTES: Final = 8


def ask(pipe: IO[bytes], name: str, secret: bytes, batch: EntryBatch) -> None:
    """Write a question.

    Raises:
        OSError: if nobody reads.
    """
    pipe.write(_QUESTION.pack(len(name), len(secret), len(batch)) + name.encode() + secret)
    for column in (batch.hashes, batch.ids.astype("<u8"), batch.salts):
        pipe.write(np.ascontiguousarray(column).data)
    pipe.flush()


def answer(pipe: IO[bytes], rows: int) -> Rows:
    """Read an answer to a question of so many rows, uint8 (rows, width).

    Raises:
        EOFError: if it ends before.
        ValueError: with the reason, if there are no rows.
    """
    (width,) = _NUMBER.unpack(_read(pipe, _NUMBER.size))
    if width == 0:
        (length,) = _NUMBER.unpack(_read(pipe, _NUMBER.size))
        raise ValueError(_read(pipe, length).decode(errors="replace"))
    return np.frombuffer(_read(pipe, rows * width), np.uint8).reshape(rows, width)


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until the questions end."""
    while head := questions.read(_QUESTION.size):
        name_bytes, secret_bytes, count = _QUESTION.unpack(head)
        name, secret = _read(questions, name_bytes).decode(), _read(questions, secret_bytes)
        batch = EntryBatch(
            np.frombuffer(_read(questions, count * HASH_BYTES), np.uint8).reshape(count, HASH_BYTES),
            np.frombuffer(_read(questions, count * _ID_BYTES), "<u8").astype(np.uint64),
            np.frombuffer(_read(questions, count * SALT_BYTES), np.uint8).reshape(count, SALT_BYTES),
        )
        for part in _answered(name, secret, batch):
            answers.write(part)
        answers.flush()


def _answered(name: str, secret: bytes, batch: EntryBatch) -> tuple[bytes, memoryview | bytes]:
    """The parts of an answer. An error's text stays here: it might tell of the secret."""
    module, _, function = name.partition(":")
    try:
        rows = np.ascontiguousarray(getattr(import_module(module), function)(secret, batch))
        return _NUMBER.pack(rows.shape[1]), rows.data
    except Exception as error:
        reason = f"{name}: {type(error).__name__}".encode()
        return _NUMBER.pack(0) + _NUMBER.pack(len(reason)), reason


def _read(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) != length:
        raise EOFError("the pipe ended")
    return data


def main() -> None:
    """Serve over standard input and output; what a function prints goes to standard error."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        try:
            serve(sys.stdin.buffer, answers)
        except (EOFError, BrokenPipeError):
            os._exit(1)


if __name__ == "__main__":
    main()
