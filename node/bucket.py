"""This member's own bucket, and the places where other members' buckets may be, from the configuration."""

from __future__ import annotations

from pathlib import Path

from node.config import Config
from node.keys import read_credential
from node.storage import Admission, Bucket, open_bucket
from node.storage.opening import DirectorySettings, S3Key, S3Settings, Settings, UplinkSettings
from protocol.errors import OperatorFault

STORJ_WRITER, STORJ_CLEANER = "storj-writer.grant", "storj-cleaner.grant"
S3_WRITER, S3_READER, S3_CLEANER = "s3-writer.key", "s3-reader.key", "s3-cleaner.key"


def own_bucket(config: Config) -> Bucket:
    """The bucket that the configuration names, with the credentials that lie beside the other keys.

    Raises `OperatorFault` naming what is missing.
    """
    return open_bucket(_settings(config))


def admission(config: Config) -> Admission:
    """Where members' grants may lead: folders (absolute paths), S3 servers (URLs), satellites (host:port)."""
    directories, endpoints, satellites = [], [], []
    for place in config.storage.peers:
        if place.startswith("/"):
            directories.append(Path(place))
        elif place.startswith(("https://", "http://")):
            endpoints.append(place)
        else:
            satellites.append(place)
    return Admission(tuple(directories), tuple(satellites), tuple(endpoints))


def _settings(config: Config) -> Settings:
    storage, state = config.storage, config.node.state
    if storage.kind == "directory":
        return DirectorySettings(config.bucket_path)
    if not storage.bucket:
        raise OperatorFault("storage.bucket is empty", remedy="name the bucket that the grant is for")
    if storage.kind == "storj":
        writer = read_credential(state, STORJ_WRITER).decode().strip()
        cleaner = read_credential(state, STORJ_CLEANER, missing=b"").decode().strip()
        return UplinkSettings(storage.bucket, writer, cleaner or None)
    if not storage.endpoint:
        raise OperatorFault("storage.endpoint is empty", remedy="name the S3 server, https://…")
    reading = read_credential(state, S3_READER, missing=b"")
    cleaning = read_credential(state, S3_CLEANER, missing=b"")
    return S3Settings(
        endpoint=storage.endpoint,
        bucket=storage.bucket,
        writer=_access_key(read_credential(state, S3_WRITER), S3_WRITER),
        reader=_access_key(reading, S3_READER) if reading else None,
        cleaner=_access_key(cleaning, S3_CLEANER) if cleaning else None,
    )


def _access_key(text: bytes, name: str) -> S3Key:
    identifier, colon, secret = text.decode().strip().partition(":")
    if not (identifier and colon and secret):
        raise OperatorFault(f"{name} is not an access key", remedy="write it as IDENTIFIER:SECRET")
    return S3Key(identifier, secret)
