"""Storage: each member's own bucket of immutable objects, and reading those of others.

`open_bucket` gives this member's `Bucket`; `Bucket.grant` makes the token with which one peer's
`MemberBuckets` reads part of it. Whatever the provider, what is fetched has the size and digest asked for.
"""

from node.storage.bucket import Bucket
from node.storage.errors import (
    AccessRefused,
    AdapterMissing,
    BucketCorrupt,
    BucketFull,
    CannotRevoke,
    DestinationFault,
    GrantRefused,
    ObjectAbsent,
    ObjectCorrupt,
    StorageUnavailable,
    WrongScope,
    WrongSource,
)
from node.storage.keys import ObjectKey, scope_of
from node.storage.limits import Timing
from node.storage.opening import (
    Admission,
    DirectorySettings,
    MemberBuckets,
    S3Settings,
    Settings,
    UplinkSettings,
    open_bucket,
    open_grant,
)
from node.storage.reader import GrantedBucket, Reader
from node.storage.retention import Collected, collect
from node.storage.s3.keyed import S3Key
from node.storage.store import Stat
from node.storage.uplink.store import derive_grants

__all__ = [
    "AccessRefused",
    "AdapterMissing",
    "Admission",
    "Bucket",
    "BucketCorrupt",
    "BucketFull",
    "CannotRevoke",
    "Collected",
    "DestinationFault",
    "DirectorySettings",
    "GrantRefused",
    "GrantedBucket",
    "MemberBuckets",
    "ObjectAbsent",
    "ObjectCorrupt",
    "ObjectKey",
    "Reader",
    "S3Key",
    "S3Settings",
    "Settings",
    "Stat",
    "StorageUnavailable",
    "Timing",
    "UplinkSettings",
    "WrongScope",
    "WrongSource",
    "collect",
    "derive_grants",
    "open_bucket",
    "open_grant",
    "scope_of",
]
