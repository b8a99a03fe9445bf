"""What can go wrong with stored objects, by whose fault it is."""

from __future__ import annotations

from protocol.errors import MemberFault, OperatorFault, OwnFault, StarlingError


class StorageUnavailable(StarlingError):
    """The provider is unreachable, busy, stalled or answers rubbish: nobody's fault; try again later.

    Nothing was stored or delivered. `Bucket` has already tried several times when this reaches its caller.
    """

    def __init__(
        self, what: str, *, remedy: str = "it is tried again; check the provider if it lasts"
    ) -> None:
        super().__init__(what, remedy=remedy)


class ObjectAbsent(StarlingError):
    """There is no such object in the bucket (not yet, or no longer): ask another member for it."""


class ObjectExists(StarlingError):
    """A store refuses to overwrite; `Bucket.put` looks whether what is there is what was to be stored."""


class WrongSource(OwnFault):
    """What was to be stored does not have the digest that its key names."""


class DestinationFault(OperatorFault):
    """What was fetched cannot be written to this machine's disk."""


class WrongScope(OwnFault):
    """The caller asked a granted bucket for an object that its grant does not cover."""


class AccessRefused(OperatorFault):
    """The provider refuses our own credential: missing permission, expired, revoked or malformed."""


class BucketFull(OperatorFault):
    """A quota, a limit of the account or the disk is exhausted; trying again does not help."""


class BucketCorrupt(OperatorFault):
    """Our own bucket does not return what was stored in it."""


class AdapterMissing(OperatorFault):
    """The library that this kind of bucket needs cannot be had on this machine."""


class CannotRevoke(OperatorFault):
    """The provider has no way to take back what was granted before it expires."""


class GrantRefused(MemberFault):
    """A member's grant is malformed, not for us, expired, revoked, or does not allow what it should."""


class ObjectCorrupt(MemberFault):
    """An object in a member's bucket does not have the size or digest that the member announced."""
