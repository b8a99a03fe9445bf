"""What an installation put in place, so that exactly this is taken away again."""

from __future__ import annotations

from pathlib import Path

import msgspec

from node.files import write_whole
from node.service.layout import RECORD, within
from protocol.errors import OperatorFault

MAX_BYTES = 64 * 1024


class Installation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files, as places on the machine; `prefix` is the environment, `made` whether it was made for it."""

    prefix: Path
    made: bool
    files: tuple[Path, ...]

    def write(self, root: Path) -> None:
        """Remember this installation in the tree at `root`."""
        write_whole(within(root, RECORD), msgspec.json.format(msgspec.json.encode(self, enc_hook=str)))


def read_record(root: Path) -> Installation:
    """The installation in the tree at `root`. Raises `OperatorFault` where there is none, or no sound one."""
    path = within(root, RECORD)
    try:
        data = path.read_bytes()[: MAX_BYTES + 1]
        found = msgspec.json.decode(data, type=Installation, dec_hook=lambda kind, text: kind(text))
    except FileNotFoundError as error:
        raise OperatorFault(f"there is no {path}", remedy="nothing was installed here") from error
    except OSError as error:
        raise OperatorFault(f"{path} cannot be read: {error.strerror}", remedy="run as root") from error
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise OperatorFault(f"{path} is damaged: {error}", remedy="install again, then uninstall") from error
    if not all(place.is_absolute() and ".." not in place.parts for place in (found.prefix, *found.files)):
        raise OperatorFault(f"{path} names places that are none", remedy="install again, then uninstall")
    return found
