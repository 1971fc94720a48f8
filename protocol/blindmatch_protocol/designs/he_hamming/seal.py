"""Microsoft SEAL as tenseal carries it: the one module of the protocol room that hands it files.

SEAL's Python binding saves and loads by path alone, so a file in memory stands in for one (Linux; nothing of
it is ever on a disk), and it compresses what it saves with the zstd inside the binding. Here bytes are what
they are before compression, SEAL's header apart: their layout and length depend on sizes alone.

docs/decisions/0009 says why this module may do what the room otherwise does not.
"""

from __future__ import annotations

import ctypes
import os  # noqa: TID251 - files in memory, docs/decisions/0009
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from struct import Struct
from typing import Any, Final

import numpy as np

from blindmatch_protocol.codec.errors import DesignError, NotInstalledError, ProtocolError

try:
    import _sealapi_cpp  # noqa: TID251 - this is the module that does
except ImportError as error:
    raise NotInstalledError("he-hamming", "pip install tenseal") from error

PLAIN_MODULUS: Final = 65537
PRIME_BITS: Final = (30, 55, 55, 55, 55, 55, 55, 56)
"""Of the ciphertext modulus; the last prime is for key switching alone. 416 of the 438 bits that give 128
bits of security at degree 16,384 (Homomorphic Encryption Standard 1.1, table 1)."""

sealapi: Final[Any] = _sealapi_cpp
"""tenseal.sealapi, without the rest of tenseal, which takes 0.2 s to import."""

_HEADER: Final = Struct("<HBBBBHQ")
_ZSTD: Final = 2


def context(degree: int, secure: bool, seed: bytes | None = None) -> Any:
    """A BFV context. With a seed of 64 bytes, every encryption under it draws the *same* stream: make one, of
    all primes, and never keys, whose differences would show the secret one. `DesignError` if SEAL takes the
    sizes for insecure, or for none."""
    parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(degree)
    parameters.set_coeff_modulus(sealapi.CoeffModulus.Create(degree, PRIME_BITS))
    parameters.set_plain_modulus(PLAIN_MODULUS)
    if seed is not None:
        words = [int.from_bytes(seed[at : at + 8], "little") for at in range(0, 64, 8)]
        parameters.set_random_generator(sealapi.Blake2xbPRNGFactory(words))
    level = sealapi.SEC_LEVEL_TYPE.TC128 if secure else sealapi.SEC_LEVEL_TYPE.NONE
    # one encryption drops no prime, and tables for fewer primes are two thirds of the time
    made = sealapi.SEALContext(parameters, seed is None, level)
    if not made.parameters_set():
        raise DesignError(f"SEAL refuses the parameters: {made.parameters_error_message()}")
    return made


@cache
def primes(degree: int) -> tuple[int, ...]:
    """The primes of the ciphertext modulus, the key-switching one last."""
    return tuple(prime.value() for prime in sealapi.CoeffModulus.Create(degree, PRIME_BITS))


def saved(held: Any) -> bytes:
    """What SEAL saves of an object, without header and compression."""
    with _file() as (file, path):
        held.save(path)
        raw = os.pread(file, os.fstat(file).st_size, 0)
    body = raw[_HEADER.size :]
    return _decompressed(body) if _HEADER.unpack_from(raw)[4] == _ZSTD else body


def restored(kind: Any, made_for: Any, body: bytes) -> Any:
    """The object of `kind` with these bytes; `ProtocolError` if SEAL refuses them."""
    held = kind()
    with _file() as (file, path):
        os.writev(file, [framed(body)])
        try:
            held.load(made_for, path)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ProtocolError("he-hamming", "SEAL refuses it") from error
    return held


def framed(body: bytes) -> bytes:
    """`body` behind SEAL's header, uncompressed, as it also stands before objects inside of others."""
    return _version() + _HEADER.pack(0, 0, 0, 0, 0, 0, _HEADER.size + len(body))[5:] + body


@cache
def _version() -> bytes:
    """Magic number, header length and version, the first five bytes of whatever this SEAL saves."""
    with _file() as (file, path):
        sealapi.Plaintext(1).save(path)
        return os.pread(file, 5, 0)


@contextmanager
def _file() -> Iterator[tuple[int, str]]:
    if not hasattr(os, "memfd_create"):
        raise DesignError("he-hamming needs files in memory (memfd_create), which Linux has")
    file = os.memfd_create("seal")
    try:
        yield file, f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def _decompressed(body: bytes) -> bytes:
    """What SEAL itself compressed just now; nothing that came from elsewhere is decompressed."""
    if not _SOUND:
        raise DesignError(
            "he-hamming needs the zstd inside tenseal's binding, which this one lacks or has otherwise"
        )
    out = np.empty(_SIZE(body, len(body)), np.uint8)
    if _DECOMPRESS(out.ctypes.data, len(out), body, len(body)) != len(out):
        raise DesignError("SEAL's compression is not the one its binding carries")
    return out.tobytes()


def _exported(name: str, result: Any, *arguments: Any) -> Any:
    found = getattr(ctypes.CDLL(sealapi.__file__), name, None)
    if found is not None:
        found.argtypes = arguments
        found.restype = result
    return found


_BYTES: Final = (ctypes.c_char_p, ctypes.c_size_t)
_SIZE: Final = _exported("ZSTD_getFrameContentSize", ctypes.c_ulonglong, *_BYTES)
_DECOMPRESS: Final = _exported("ZSTD_decompress", ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, *_BYTES)
_FRAME: Final = b"\x28\xb5\x2f\xfd\x20\x04\x21\x00\x00seal"
"""Four bytes in one raw block (RFC 8878, section 3.1.1), to try both with."""


def _sound() -> bool:
    """Do the two functions read a known frame, with the types that are declared for them?"""
    if _SIZE is None or _DECOMPRESS is None:
        return False
    out = np.zeros(4, np.uint8)
    known = _SIZE(_FRAME, len(_FRAME)) == 4 == _DECOMPRESS(out.ctypes.data, 4, _FRAME, len(_FRAME))
    return known and out.tobytes() == _FRAME[-4:]


_SOUND: Final = _sound()
