"""Parties: names, open to whatever a design needs, and what a party's server is called."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from blindmatch_protocol.codec.errors import DesignError

_NAME: Final = re.compile(r"[a-z](?:[a-z0-9_]{0,29}[a-z0-9])?")
_RELAY: Final = "relay"
_TAKEN: Final = frozenset({_RELAY, "operator", "authority", "devices", "operators", "all"})
"""Names that a deployment uses otherwise: in certificates, for folders and in commands."""


class Party(str):
    """Who may see something: 1 to 31 of a-z 0-9 _, a letter first, no _ last.

    Five parties have constants; a design names its others itself: ``Party("party_a")``. A party is equal to
    its name.

    Raises:
        DesignError: if the name breaks the rule, or means something else in a deployment.
    """

    DEVICE: ClassVar[Party]
    PROVIDER: ClassVar[Party]
    MATCHER: ClassVar[Party]
    CURATOR: ClassVar[Party]
    CENTRE: ClassVar[Party]

    __slots__ = ()

    def __new__(cls, name: str) -> Party:
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise DesignError(
                "party: a name is 1 to 31 of a-z 0-9 _, begins with a letter, does not end with _ and is "
                f"none of {', '.join(sorted(_TAKEN))}"
            )
        return super().__new__(cls, name)

    @property
    def server(self) -> str:
        """Name of its server in certificates, folders and commands: the provider's is the relay."""
        return _RELAY if self == Party.PROVIDER else str(self)

    @property
    def dns_name(self) -> str:
        """The name in its server's certificate (RFC 2606 keeps ``.test`` free)."""
        return f"{self.server.replace('_', '-')}.blindmatch.test"

    @classmethod
    def of_server(cls, name: str) -> Party:
        """The party whose server is called `name`.

        Raises:
            DesignError: if no server can be called so.
        """
        if name == _RELAY:
            return Party.PROVIDER
        party = cls(name)
        if party in _SERVERLESS or party == Party.PROVIDER:
            raise DesignError(f"party: no server is called {name}")
        return party


Party.DEVICE = Party("device")
Party.PROVIDER = Party("provider")
Party.MATCHER = Party("matcher")
Party.CURATOR = Party("curator")
Party.CENTRE = Party("centre")
_SERVERLESS: Final = (Party.DEVICE, Party.CURATOR)
