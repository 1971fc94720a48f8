"""Who is who in a deployment: the parties that certificates are made for, by kind and name."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from blindmatch_protocol.account_name import NOTICES, is_account, is_reserved
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError
from blindmatch_protocol.contract import Party
from msgspec import Struct

SCHEME: Final = "blindmatch"
_OF_LOG: Final = re.compile(r"log|witness_[0-9]+")
_NO_PARTY: Final = "identity: must be the URI of a party of this deployment"


class AuthorityError(BlindmatchError):
    """A certificate cannot be issued, or the authority's files cannot be used."""


class IdentityError(AuthorityError):
    """A name or URI is not that of a party."""


class Kind(StrEnum):
    """What a certificate's holder is."""

    RELAY = "relay"
    CENTRE = "centre"
    HOST = "host"
    """A server that hosts roles of the design and does nothing else, such as the matcher."""
    DEVICE = "device"
    OPERATOR = "operator"


_NAMED: Final = frozenset({Kind.DEVICE, Kind.OPERATOR})
"""Kinds of which there are many, each with a name."""
_SERVER: Final = "server/"
SERVICES: Final = frozenset({Party.PROVIDER.server, Party.MATCHER.server, Party.CENTRE.server})
"""Servers that every deployment has; no device is called so."""


class Identity(Struct, frozen=True):
    """A party of a deployment.

    Attributes:
        name: a device's, an operator's or a host's; empty for relay and centre.

    Raises:
        IdentityError: if a name is missing, not wanted or breaks the rule for names.
    """

    kind: Kind
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind is Kind.HOST:
            if _server_of(self.name) in (Party.PROVIDER, Party.CENTRE):
                raise IdentityError("identity: relay and centre are no hosts")
        elif self.kind not in _NAMED:
            if self.name:
                raise IdentityError(f"identity: a {self.kind} has no name of its own")
        elif not is_account(self.name) or self.name in SERVICES | _NAMED:
            raise IdentityError(
                "identity: field name: must be 1 to 32 of a-z 0-9 _ -, begin with a letter or digit and "
                "not be the name of a service"
            )
        elif self.kind is Kind.DEVICE and self.name != NOTICES and is_reserved(self.name):
            raise IdentityError(
                "identity: field name: must not be read as that of the centre, a server or a role"
            )

    @classmethod
    def of(cls, party: Party) -> Identity:
        """The identity of the server that `party` runs; `IdentityError` if it can have none."""
        special = {Party.PROVIDER: Kind.RELAY, Party.CENTRE: Kind.CENTRE}
        return cls(special[party]) if party in special else cls(Kind.HOST, party.server)

    @property
    def party(self) -> Party | None:
        """Whose server it is; None if it is none."""
        return None if self.kind in _NAMED else _server_of(self.name or self.kind)

    @property
    def words(self) -> str:
        """What it is, for texts: ``device``, ``relay``, ``party_a``."""
        return self.name if self.kind is Kind.HOST else str(self.kind)

    @property
    def uri(self) -> str:
        """The URI in the certificate."""
        return f"{SCHEME}://{self.words}" + (f"/{self.name}" if self.kind in _NAMED else "")

    @property
    def account(self) -> str:
        """How counters, logs and tables call it: ``alice``, ``operator/NAME``, ``matcher``, and a server that
        not every deployment has ``server/NAME``, as no device can be called."""
        if self.kind is Kind.OPERATOR:
            return f"{self.kind}/{self.name}"
        return self.name if self.kind is Kind.DEVICE else _account(self.words)

    @property
    def host(self) -> str | None:
        """The DNS name a server is checked by; None for parties that do not serve."""
        return None if self.party is None else self.party.dns_name

    @property
    def takes_devices(self) -> bool:
        """Whether it is a server that devices may connect to: neither a log nor a witness of one."""
        return self.party is not None and not _OF_LOG.fullmatch(self.words)

    @property
    def slug(self) -> str:
        """Stem of its files: ``relay``, ``device-alice``."""
        return f"{self.kind}-{self.name}" if self.kind in _NAMED else self.words

    @classmethod
    def parse(cls, uri: str) -> Identity:
        """The identity with exactly this URI.

        Raises:
            AuthorityError: if there is none.
        """
        kind, _, name = uri.removeprefix(f"{SCHEME}://").partition("/")
        identity = cls(Kind(kind), name) if kind in _NAMED else cls.of(_server_of(kind))
        if identity.uri != uri:
            raise IdentityError(_NO_PARTY)
        return identity


def identity_of(account: str) -> Identity:
    """The device or server with this account name; a device's name is never that of a server.

    Raises:
        IdentityError: if no party can have the name.
    """
    server = account.removeprefix(_SERVER)
    if account in SERVICES or (server != account and server not in SERVICES):
        return Identity.of(_server_of(server))
    return Identity(Kind.DEVICE, account)


def _account(server: str) -> str:
    return server if server in SERVICES else _SERVER + server


def _server_of(name: str) -> Party:
    try:
        return Party.of_server(name)
    except DesignError as error:
        raise IdentityError(_NO_PARTY) from error
