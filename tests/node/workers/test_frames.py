import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.workers.frames import MAX_CONTROL, Decoder, FrameError, encode

values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary()
    | st.text()
    | st.floats(allow_nan=False)
)
maps = st.dictionaries(st.text(), values | st.lists(values, max_size=5), max_size=5)


@given(st.lists(maps, max_size=5), st.integers(1, 50))
def test_messages_survive_however_the_stream_is_cut(messages, size):
    stream = b"".join(encode(message) for message in messages)
    decoder = Decoder()
    received = []
    for start in range(0, len(stream), size):
        decoder.feed(stream[start : start + size])
        received += decoder.messages()
    assert received == messages


def test_an_announced_length_beyond_the_limit_is_refused_before_it_arrives():
    decoder = Decoder()
    decoder.feed((MAX_CONTROL + 1).to_bytes(4, "big"))
    with pytest.raises(FrameError, match="announces"):
        list(decoder.messages())


@given(st.binary(min_size=1, max_size=100))
def test_arbitrary_bodies_are_maps_or_refused(body):
    decoder = Decoder()
    decoder.feed(len(body).to_bytes(4, "big") + body)
    try:
        messages = list(decoder.messages())
    except FrameError:
        return
    assert [type(message) for message in messages] == [dict]


@pytest.mark.parametrize("body", [[1, 2], {1: 2}, {b"a": 1}, "text", None])
def test_other_than_maps_with_text_keys_is_refused(body):
    packed = msgpack.packb(body)
    decoder = Decoder()
    decoder.feed(len(packed).to_bytes(4, "big") + packed)
    with pytest.raises(FrameError):
        list(decoder.messages())


def test_what_messagepack_lacks_is_refused():
    with pytest.raises(FrameError):
        encode({"a": object()})
    with pytest.raises(FrameError):
        encode({"a": 2**64})
