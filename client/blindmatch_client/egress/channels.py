"""Mutually authenticated channels, one to each party, opened when first used."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from msgspec import Struct

from blindmatch_client.egress.line import Line
from blindmatch_client.errors import DeviceError, UnreachedError

if TYPE_CHECKING:
    import grpc

USER_AGENT: Final = "blindmatch"
MOST_MESSAGE_BYTES: Final = 1 << 20
"""Every message of the wire interface is at most so long; larger things travel in parts."""
STREAM_WINDOW_BYTES: Final = 256 << 10
"""What a server may send ahead of what was read."""


class Credentials(Redacted, Struct, frozen=True):
    """PEM bytes: the certificate authority, the device's certificate and its key."""

    SHOWN: ClassVar = ("authority", "certificate")

    authority: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def read(cls, authority: Path, certificate: Path, key: Path) -> Credentials:
        """Read the three from files.

        Raises:
            DeviceError: if one cannot be read.
        """
        try:
            return cls(authority.read_bytes(), certificate.read_bytes(), key.read_bytes())
        except OSError as error:
            raise DeviceError(f"certificates: {error.filename}: {error.strerror}") from error


class Endpoint(Struct, frozen=True):
    """Where a party's server listens, and the name its certificate bears (None: the usual one).

    Without an address it is known not to run.
    """

    address: str
    name: str | None = None


class _Opened(Struct):
    endpoint: Endpoint
    channel: grpc.Channel
    line: Line | None = None

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
        self.channel.close()


class Channels:
    """Opens and keeps one channel for each party; where it is is looked up when that is first needed, and
    again after a call found nobody there, since a server may come back at another address."""

    def __init__(self, endpoints: Mapping[Party, Endpoint], credentials: Credentials) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._lock = threading.Lock()
        self._open: dict[Party, _Opened] = {}
        self._doubted: set[Party] = set()

    def knows(self, party: Party) -> bool:
        """Is there an address for `party`?"""
        return party in self._endpoints

    def to(self, party: Party) -> grpc.Channel:
        """The channel to `party`.

        Raises:
            UnreachedError: if the device was given no address for it, or knows that it does not run.
        """
        with self._lock:
            return self._opened(party).channel

    def line(self, party: Party, path: str) -> Line:
        """The line to `party`, which the method at `path` opens; a new one if the last has ended. Raises as
        `to`."""
        with self._lock:
            opened = self._opened(party)
            if opened.line is None or opened.line.ended:
                opened.line = Line(party, opened.channel, path)
            return opened.line

    def doubt(self, party: Party) -> None:
        """A call found nobody there: look its address up before the next one."""
        with self._lock:
            self._doubted.add(party)

    def close(self) -> None:
        """Close all channels; calls under way are cancelled."""
        with self._lock:
            for opened in self._open.values():
                opened.close()
            self._open.clear()

    def _opened(self, party: Party) -> _Opened:
        if party not in self._endpoints:
            raise UnreachedError(party, "cannot be reached: no address for it is known here")
        if party not in self._open or party in self._doubted:
            self._look_up(party)
        return self._open[party]

    def _look_up(self, party: Party) -> None:
        """Keep the channel if the address is the same; else close it: calls on it have no server any more."""
        endpoint, before = self._endpoints[party], self._open.get(party)
        if before is None or before.endpoint != endpoint:
            self._open[party] = _Opened(endpoint, self._connect(party, endpoint))
            if before is not None:
                before.close()
        self._doubted.discard(party)

    def _connect(self, party: Party, endpoint: Endpoint) -> grpc.Channel:
        if not endpoint.address:
            raise UnreachedError(party, "cannot be reached: it is not running; start it and try again")
        import grpc  # with the first call: a device that makes none need not load it

        options = _options(endpoint.name or party.dns_name)
        held = self._credentials
        secured = grpc.ssl_channel_credentials(held.authority, held.key, held.certificate)
        return grpc.secure_channel(endpoint.address, secured, options)


def _options(name: str) -> list[tuple[str, Any]]:
    return [
        ("grpc.ssl_target_name_override", name),
        ("grpc.primary_user_agent", USER_AGENT),
        # no proxy, no DNS look-up of a service configuration: nothing leaves but the call itself
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        # the library would send a call again on its own, unrecorded
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MOST_MESSAGE_BYTES),
        # a stream is read as fast as it is kept: no window that grows with the speed of the link
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # despite its name: how long an attempt to connect may take at least, TLS handshake included
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]
