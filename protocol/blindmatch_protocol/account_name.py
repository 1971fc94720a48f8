"""Names of accounts: the rule, and which no user may have, since they pass for the centre or a server."""

from __future__ import annotations

import re
from typing import Final

NOTICES: Final = "centre-notices"
"""The centre's own account, which its notices come from."""

NOTICE_BYTES: Final = 9216
"""Of every notice's text in UTF-8, with spaces after it that are not kept: no decision changes the size."""

_RULE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_ALIKE: Final = str.maketrans("01345789l", "oieastbgi", "-_")
"""Digits that are read as letters, and l as i; what separates words is left out."""
_ROLES: Final = (
    "authority curator device enclave log matcher operator partya partyb provider relay thirdparty vendor"
    " witness witness1 witness2 witness3"
)
_WHOLE: Final = frozenset(_ROLES.translate(_ALIKE).split())
_PARTS: Final = tuple(word.translate(_ALIKE) for word in ("centre", "center", "notice"))


def is_account(name: str) -> bool:
    """Is it 1 to 32 of a-z 0-9 _ -, a letter or digit first?"""
    return _RULE.fullmatch(name) is not None


def is_reserved(name: str) -> bool:
    """Is it `NOTICES`, a server's or a role's name, or read as one?"""
    plain = name.translate(_ALIKE)
    return plain in _WHOLE or any(part in plain for part in _PARTS)


def is_user(name: str) -> bool:
    return is_account(name) and not is_reserved(name)
