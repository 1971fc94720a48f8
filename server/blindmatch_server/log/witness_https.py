"""Witnesses that others run, asked over HTTPS (c2sp.org/tlog-witness, "add-checkpoint").

    POST <submission prefix>/add-checkpoint   the request's bytes
    <--- 200 cosignatures, 409 a size, 400, 403, 404 and 422 with words

Where it is asked, the log's configuration says alone: no redirect is followed and no proxy used, and what
names another address is a refusal like any other. Who answers is checked twice, by its certificate here and
by its key in witness.py. Each question is a connection of its own.
"""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

from blindmatch_proofs.checkpoint import NOTE_MOST
from blindmatch_protocol.codec.errors import ProtocolError
from msgspec import Struct

from blindmatch_server.log.witness import SECONDS

REPLY_MOST: Final = NOTE_MOST
"""Bytes of an answer's body; http.client bounds its head: 100 lines of 64 KiB."""
_STEP: Final = "witness"
_HEADERS: Final = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "blindmatch-log"}
_URL_MOST: Final = 2048


class SubmissionPrefix(Struct, frozen=True):
    """Where a witness takes checkpoints: host, port, and the path of the call."""

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> SubmissionPrefix:
        """Read ``https://HOST[:PORT][/PATH]``; `ProtocolError` for anything else."""
        wrong = ProtocolError(_STEP, "must be https://HOST[:PORT][/PATH], in ASCII", "url")
        if len(url) > _URL_MOST or not (url.isascii() and url.isprintable()) or set(url) & set(' ?#@\\"<>'):
            raise wrong
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme != "https" or not host or port == 0:
            raise wrong
        return cls(host, port or 443, f"{parts.path.rstrip('/')}/add-checkpoint")


def trust_of(roots: str) -> ssl.SSLContext:
    """How a witness's certificate is checked: against these roots (PEM), or the system's if there are none;
    `ProtocolError` if the roots are no certificates."""
    try:
        return ssl.create_default_context(cadata=roots or None)
    except (ssl.SSLError, ValueError) as error:
        raise ProtocolError(_STEP, "must be certificates in PEM", "roots") from error


async def ask_over_https(at: SubmissionPrefix, trust: ssl.SSLContext, body: bytes) -> tuple[int, bytes]:
    """`Ask` of a witness that speaks HTTPS: `TimeoutError` after `SECONDS`, however slowly it answers.

    Each question has a thread of its own: slow witnesses keep none that others are asked in.
    """
    asking, until = ThreadPoolExecutor(1), time.monotonic() + SECONDS
    try:
        async with asyncio.timeout(SECONDS):
            return await asyncio.get_running_loop().run_in_executor(asking, _post, at, trust, body, until)
    finally:
        asking.shutdown(wait=False)


def _post(at: SubmissionPrefix, trust: ssl.SSLContext, body: bytes, until: float) -> tuple[int, bytes]:
    """Ends soon after `until`, so that no witness keeps a thread."""
    connection = HTTPSConnection(at.host, at.port, timeout=_left(until), context=trust)
    connection.response_class = partial(_response, until)  # type: ignore[assignment]
    try:
        connection.request("POST", at.path, body, _HEADERS)
        answer = connection.getresponse()
        raw = answer.read(REPLY_MOST + 1)
    except OSError:
        raise
    except (HTTPException, ValueError) as error:
        raise ProtocolError(_STEP, f"must answer in HTTP ({type(error).__name__})") from error
    finally:
        connection.close()
    if len(raw) > REPLY_MOST:
        raise ProtocolError(_STEP, f"must answer with at most {REPLY_MOST} bytes")
    return answer.status, raw


def _response(until: float, sock: socket.socket, **more: Any) -> HTTPResponse:
    """The answer on a connection, whose parts all have to come before `until`."""
    return HTTPResponse(_Until(sock, until), **more)  # type: ignore[arg-type]


class _Until(io.RawIOBase):
    """Reads a socket until a time. http.client calls `makefile`, and `close` of what it gives."""

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock, self._until = sock, until
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._until))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _left(until: float) -> float:
    """Seconds; `TimeoutError` if there are none."""
    if (left := until - time.monotonic()) <= 0:
        raise TimeoutError("no whole answer in time")
    return left
