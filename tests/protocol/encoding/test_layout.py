"""Layouts: canonical bytes, spans and limits."""

import math

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.encoding.errors import Malformed, Misuse
from protocol.encoding.layout import MAX_LAYOUT_BYTES, MAX_PARAMETERS, Layout, Tensor

SMALL = Layout((Tensor("fc.weight", (10, 4), 0.5), Tensor("fc.bias", (10,), 0.25), Tensor("scale", (), 1.0)))

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=20)
shapes = st.lists(st.integers(1, 9), max_size=4).map(tuple)
layouts = st.lists(
    st.builds(Tensor, names, shapes, st.floats(2.0**-64, 2.0**64)),
    min_size=1,
    max_size=6,
    unique_by=lambda tensor: tensor.name,
).map(lambda tensors: Layout(tuple(tensors)))


@given(layouts)
@settings(deadline=None)
def test_a_layout_survives_its_encoding(layout):
    decoded = Layout.from_bytes(layout.to_bytes())
    assert decoded == layout
    assert decoded.digest() == layout.digest()


def test_the_digest_is_known_and_covers_everything():
    assert SMALL.digest().hex() == "5e519843160024940a7e7c41f114076d088faceecaa87ae000150bc5425ee6d1"
    others = [
        Layout(SMALL.tensors[::-1]),
        Layout(SMALL.tensors[:2]),
        SMALL.with_clips({"scale": 2.0}),
        Layout((Tensor("fc.weight", (4, 10), 0.5), *SMALL.tensors[1:])),
        Layout((Tensor("fc_weight", (10, 4), 0.5), *SMALL.tensors[1:])),
    ]
    assert len({layout.digest() for layout in [SMALL, *others]}) == 6


def test_spans_follow_each_other():
    assert SMALL.parameters == 51
    assert [(span.start, span.stop) for _, span in SMALL.spans()] == [(0, 40), (40, 50), (50, 51)]


def test_clips_change_by_name():
    changed = SMALL.with_clips({"fc.bias": 0.125})
    assert [tensor.clip for tensor in changed.tensors] == [0.5, 0.125, 1.0]
    with pytest.raises(Misuse, match="no tensor 'fc\\.bais'"):
        SMALL.with_clips({"fc.bais": 1.0})


@pytest.mark.parametrize(
    ("name", "shape", "clip"),
    [
        ("", (1,), 1.0),
        ("line\nbreak", (1,), 1.0),
        ("x" * 257, (1,), 1.0),
        ("x", (0,), 1.0),
        ("x", (1,) * 9, 1.0),
        ("x", (1,), 0.0),
        ("x", (1,), math.nan),
        ("x", (1,), math.inf),
    ],
)
def test_a_tensor_is_named_shaped_and_clipped_within_limits(name, shape, clip):
    with pytest.raises(Misuse):
        Tensor(name, shape, clip)


@pytest.mark.parametrize(
    "tensors",
    [
        (),
        (Tensor("x", (1,), 1.0), Tensor("x", (2,), 1.0)),
        (Tensor("x", (MAX_PARAMETERS + 1,), 1.0),),
        tuple(Tensor(str(number), (), 1.0) for number in range(16_385)),
    ],
)
def test_a_layout_is_of_distinct_tensors_within_limits(tensors):
    with pytest.raises(Misuse):
        Layout(tensors)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        ["starling-layout-2", [["x", [1], 1.0]]],
        ["starling-layout-1", []],
        ["starling-layout-1", [["x", [1], 1.0]], 0],
        ["starling-layout-1", {"x": 1}],
        ["starling-layout-1", [["x", [1], 1]]],
        ["starling-layout-1", [["x", [1.0], 1.0]]],
        ["starling-layout-1", [["x", [True], 1.0]]],
        ["starling-layout-1", [["x", [-1], 1.0]]],
        ["starling-layout-1", [["x", [2**63], 1.0]]],
        ["starling-layout-1", [["x", [1], math.nan]]],
        ["starling-layout-1", [[b"x", [1], 1.0]]],
        ["starling-layout-1", [["x", [1], 1.0], ["x", [1], 1.0]]],
        ["starling-layout-1", ["x"]],
    ],
)
def test_received_layouts_are_checked_like_our_own(value):
    with pytest.raises(Malformed):
        Layout.from_bytes(msgpack.packb(value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        SMALL.to_bytes() + b"\x00",
        SMALL.to_bytes()[:-1],
        SMALL.to_bytes().replace(b"\xa5scale", b"\xd9\x05scale"),
        b"\x91" * 5000,
        bytes(MAX_LAYOUT_BYTES + 1),
    ],
)
def test_only_canonical_bytes_are_a_layout(data):
    with pytest.raises(Malformed):
        Layout.from_bytes(data)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_arbitrary_bytes_are_refused_with_the_same_error(data):
    with pytest.raises(Malformed):
        Layout.from_bytes(data)
