"""What one control client may ask for. Clients run as the node's own user: limits are against mistakes."""

from __future__ import annotations

MAX_REQUEST_BYTES = 256 * 1024
"""The largest request is a job's specification with its task's parameters: a few KiB."""

MAX_ANSWER_BYTES = 32 * 2**20
"""The largest answer lists 10,000 rounds of 32 members: about 20 MiB."""

MAX_CONNECTIONS = 32
"""An operator's terminals, a monitor and a demo's viewers together need fewer."""

MAX_SUBSCRIPTIONS = 8
"""Per connection; a live view needs one."""

REQUESTS_PER_SECOND = 50.0
BURST = 100
"""A client that asks faster is answered slower: the event loop has other work."""

MAX_FAULTS = 10
"""Frames that are no requests, after which a connection is closed: it is not a client of ours."""

IDLE_SECONDS = 600.0
"""A connection that neither asks nor listens for this long is closed."""

ANSWER_SECONDS = 900.0
"""A proposal starts a learner, which loads a framework and a model: minutes on a busy machine."""

SEND_SECONDS = 5.0
"""A client on this machine that does not read for this long is cut off; also delays the node's stop."""
