from __future__ import annotations

import hmac

import pytest
from blindmatch_protocol.crypto.symmetric import keyed

# RFC 4231, sections 4.2, 4.3 and 4.7: key, data, HMAC-SHA-256
VECTORS = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
]


@pytest.mark.parametrize(("key", "data", "expected"), VECTORS)
def test_the_rfc_s_vectors_come_out(key: bytes, data: bytes, expected: str) -> None:
    mac = keyed(key)
    mac.update(data)
    assert mac.finalize().hex() == expected == hmac.digest(key, data, "sha256").hex()


def test_copies_of_one_key_go_on_by_themselves() -> None:
    mac = keyed(b"key")
    one = mac.copy()
    other = mac.copy()
    one.update(b"one")
    other.update(b"other")
    expected = [hmac.digest(b"key", data, "sha256") for data in (b"one", b"other")]
    assert [one.finalize(), other.finalize()] == expected
