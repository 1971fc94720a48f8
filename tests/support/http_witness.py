"""A witness that others run, written from c2sp.org/tlog-witness and RFC 6962 without a line of the product.

It speaks HTTP/1.1 over TLS on loopback; `answer` can be replaced by what a hostile one says.
"""

from __future__ import annotations

import base64
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EMPTY = sha256().digest()


def node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def consistent(old: int, new: int, first: bytes, second: bytes, proof: list[bytes]) -> bool:
    """RFC 6962, section 2.1.2, by recursion over the definition of PROOF and SUBPROOF."""
    if old == 0:
        return not proof
    if old == new:
        return not proof and first == second
    rest = list(proof)

    def subproof(m: int, n: int, known: bool) -> tuple[bytes, bytes]:
        """Hashes of the first `m` leaves and of all `n`, of which the proof is made."""
        if m == n:
            one = first if known else rest.pop(0)
            return one, one
        k = 1 << (n - 1).bit_length() - 1
        if m <= k:
            left_old, left_new = subproof(m, k, known)
            return left_old, node(left_new, rest.pop(0))
        right_old, right_new = subproof(m - k, n - k, False)
        left = rest.pop(0)
        return node(left, right_old), node(left, right_new)

    try:
        return subproof(old, new, True) == (first, second) and not rest
    except IndexError:
        return False


def vkey(name: str, kind: int, public: bytes) -> tuple[str, bytes]:
    """A verifier key's text and id (c2sp.org/signed-note)."""
    key_id = sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]
    return f"{name}+{key_id.hex()}+{base64.b64encode(bytes([kind]) + public).decode()}", key_id


@dataclass
class HttpWitness:
    """What a witness keeps, and its answers: status, body, and more header lines."""

    name: str
    logs: Callable[[str], bytes | None]
    clock: Callable[[], float] = time.time
    kept: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[bytes] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.secret = Ed25519PrivateKey.from_private_bytes(sha256(self.name.encode()).digest())
        public = self.secret.public_key().public_bytes_raw()
        self.text, self.key_id = vkey(self.name, 4, public)

    def line(self, text: str, at: int | None = None) -> str:
        now = int(self.clock()) if at is None else at
        made = self.secret.sign(f"cosignature/v1\ntime {now}\n{text}".encode())
        raw = self.key_id + now.to_bytes(8, "big") + made
        return f"\u2014 {self.name} {base64.b64encode(raw).decode()}\n"

    def answer(self, body: bytes) -> tuple[int, str]:
        self.asked.append(body)
        head, _, note = body.decode().partition("\n\n")
        first, *proof = head.split("\n")
        text, _, signed = note.rpartition("\n\n")
        origin, size, root = text.split("\n")
        old = int(first.removeprefix("old "))
        new = int(size)
        hashed = base64.b64decode(root)
        public = self.logs(origin)
        if public is None:
            return 404, "unknown origin\n"
        if not self._is_signed(text + "\n", origin, public, signed):
            return 403, "no known signature\n"
        if old > new:
            return 400, "old is larger\n"
        with self.lock:
            kept, known = self.kept.get(origin, (0, EMPTY))
            if old != kept:
                return 409, f"{kept}\n"
            if old == new and known != hashed:
                return 409, f"{kept}\n"
            if not consistent(old, new, known, hashed, [base64.b64decode(one) for one in proof]):
                return 422, "inconsistent\n"
            self.kept[origin] = new, hashed
        return 200, self.line(text + "\n")

    @staticmethod
    def _is_signed(text: str, origin: str, public: bytes, signed: str) -> bool:
        _, key_id = vkey(origin, 1, public)
        for line in signed.splitlines():
            _, name, raw = line.split(" ")
            made = base64.b64decode(raw)
            if (name, made[:4]) == (origin, key_id):
                try:
                    Ed25519PublicKey.from_public_bytes(public).verify(made[4:], text.encode())
                except InvalidSignature:
                    return False
                return True
        return False

    @contextmanager
    def serving(self, certificate: Path) -> Iterator[int]:
        """Its port; `certificate` holds key and certificate (PEM)."""
        witness = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, said = (404, "no such path\n") if self.path != "/w/add-checkpoint" else (
                    witness.answer(body)
                )  # fmt: skip
                self.send_response(status)
                if status == 409:
                    self.send_header("Content-Type", "text/x.tlog.size")
                self.send_header("Content-Length", str(len(said.encode())))
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            try:
                yield server.server_address[1]
            finally:
                server.shutdown()
                thread.join()


def certificate_for(path: Path, address: str = "127.0.0.1") -> str:
    """Write key and a self-signed certificate of a server at `address` into `path`; the certificate, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "witness")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form) + pem)
    return pem.decode()
