"""Node identities: a certificate authority, a leaf that it signed, and the node id of the authority's key."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VERSION_EXTENSION = x509.ObjectIdentifier("2.999.2.1")


def base58check(payload: bytes, version: int = 0) -> str:
    """Base58 with a version byte in front and four bytes of double SHA-256 behind."""
    data = bytes([version]) + payload
    data += hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


class Identity:
    """The keys and certificates of one satellite or node."""

    def __init__(self) -> None:
        self._authority_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._authority = _certificate(self._authority_key, self._authority_key, is_authority=True)
        self._leaf = _certificate(self._key, self._authority_key, is_authority=False)
        public = self._authority_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashlib.sha256(hashlib.sha256(public).digest()).digest()
        self.node_id = digest[:-1] + b"\0"  # the last byte is the identity version

    def sign(self, data: bytes) -> bytes:
        """An ECDSA signature by the leaf."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def server_context(self, directory: Path) -> ssl.SSLContext:
        """TLS with this identity; the chain passes through a file in the directory."""
        pem = directory / f"{self.node_id.hex()[:16]}.pem"
        encoding = serialization.Encoding.PEM
        pem.write_bytes(
            self._leaf.public_bytes(encoding)
            + self._authority.public_bytes(encoding)
            + self._key.private_bytes(
                encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context


def _certificate(
    key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, *, is_authority: bool
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Emulated")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_encipherment=not is_authority,
        key_cert_sign=is_authority,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    if is_authority:
        builder = builder.add_extension(x509.UnrecognizedExtension(_VERSION_EXTENSION, b"\0"), critical=False)
    return builder.sign(issuer, hashes.SHA256())
