"""The methods of version 1: their parameters, and what each asks of the node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from node.control.api import Node
from node.control.errors import INVALID_PARAMS, METHOD_NOT_FOUND, RequestRefused
from node.control.wire import NAMESPACE
from protocol.words import Reason

JobPrefix = Annotated[str, Meta(pattern="^[0-9a-fA-F]{4,64}$")]
Note = Annotated[str, Meta(max_length=200)]


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all parameters, which are given by name: an unknown one is an error."""


class NoParams(Params, frozen=True):
    """Nothing."""


class CardParams(Params, frozen=True):
    card: dict[str, Any]


class NameParams(Params, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=120)]


class SpecParams(Params, frozen=True):
    spec: dict[str, Any]
    reuse_data: bool = False


class JobParams(Params, frozen=True):
    job: JobPrefix


class AcceptParams(Params, frozen=True):
    job: JobPrefix
    acknowledge_leaks: bool = False
    reuse_data: bool = False


class ReasonParams(Params, frozen=True):
    job: JobPrefix
    reason: Reason = Reason.OPERATOR
    note: Note = ""


class ExportParams(Params, frozen=True):
    job: JobPrefix
    path: Annotated[str, Meta(pattern="^/", max_length=4096)]


class ForemostParams(Params, frozen=True):
    """A job, by default the one that runs, or else the newest."""

    job: JobPrefix | None = None


class UnsubscribeParams(Params, frozen=True):
    subscription: int


@dataclass(frozen=True)
class Method:
    """One method: the type of its parameters, and the call of the node that answers it."""

    params: type[Params]
    call: Callable[[Node, Any], object | Awaitable[object]]


METHODS: Mapping[str, Method] = {
    "status": Method(NoParams, lambda node, given: node.status()),
    "card": Method(NoParams, lambda node, given: node.card()),
    "peers": Method(NoParams, lambda node, given: node.peers()),
    "add_peer": Method(CardParams, lambda node, given: node.add_peer(given.card)),
    "remove_peer": Method(NameParams, lambda node, given: node.remove_peer(given.name)),
    "propose": Method(SpecParams, lambda node, given: node.propose(given.spec, reuse_data=given.reuse_data)),
    "jobs": Method(NoParams, lambda node, given: node.jobs()),
    "job": Method(JobParams, lambda node, given: node.job(given.job)),
    "rounds": Method(JobParams, lambda node, given: node.rounds(given.job)),
    "accept": Method(
        AcceptParams,
        lambda node, given: node.accept(
            given.job, acknowledge_leaks=given.acknowledge_leaks, reuse_data=given.reuse_data
        ),
    ),
    "decline": Method(ReasonParams, lambda node, given: node.decline(given.job, given.reason, given.note)),
    "pause": Method(JobParams, lambda node, given: node.pause(given.job)),
    "resume": Method(JobParams, lambda node, given: node.resume(given.job)),
    "stop": Method(ReasonParams, lambda node, given: node.stop(given.job, given.reason, given.note)),
    "export_model": Method(ExportParams, lambda node, given: node.export_model(given.job, given.path)),
    "head": Method(ForemostParams, lambda node, given: node.head(given.job)),
    "storage": Method(NoParams, lambda node, given: node.storage()),
    "clean": Method(JobParams, lambda node, given: node.clean(given.job)),
    "shutdown": Method(NoParams, lambda node, given: node.shutdown()),
}
"""Methods that answer once. `subscribe` and `unsubscribe` belong to a connection: see `session`."""

SUBSCRIBE, UNSUBSCRIBE = "subscribe", "unsubscribe"

NAMES = sorted([*METHODS, SUBSCRIBE, UNSUBSCRIBE])

P = TypeVar("P", bound=Params)


def short_name(method: str) -> str:
    """The method's name within its version; `RequestRefused` for one that does not exist."""
    name = method.removeprefix(NAMESPACE)
    if not method.startswith(NAMESPACE) or (name not in NAMES):
        raise RequestRefused(
            METHOD_NOT_FOUND,
            f"there is no method {method[:80]!r}",
            remedy=f"this node speaks {NAMESPACE}*: {', '.join(NAMES)}",
        )
    return name


def parse_params(wanted: type[P], given: dict[str, Any] | UnsetType) -> P:
    """The parameters as their type; `RequestRefused` naming the one at fault."""
    try:
        return msgspec.convert({} if given is UNSET else given, wanted)
    except msgspec.ValidationError as error:
        names = ", ".join(wanted.__struct_fields__) or "none"
        what, _, where = str(error).partition(" - at `$.")
        key = where.rstrip("`")
        raise RequestRefused(
            INVALID_PARAMS,
            f"wrong parameters: {f'{key}: ' if key else ''}{what}",
            remedy=f"it takes by name: {names}",
        ) from None
