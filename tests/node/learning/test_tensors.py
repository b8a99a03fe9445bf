import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.learning.initial import uniform
from node.learning.tensors import (
    SharedTensor,
    check_shared,
    check_tensors,
    digest,
    flatten,
    from_bytes,
    to_bytes,
    unflatten,
)
from protocol.errors import OperatorFault, OwnFault

shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


def described(shapes):
    return tuple(SharedTensor(f"t{n}", shape) for n, shape in enumerate(shapes))


def example(shared):
    return tuple(uniform(5, tensor.name, tensor.shape, 1.0) for tensor in shared)


@given(shapes)
def test_bytes_and_vector_forms_are_inverses(shapes):
    shared = described(shapes)
    tensors = example(shared)
    for again in (unflatten(shared, flatten(tensors)), from_bytes(shared, to_bytes(tensors))):
        assert check_tensors(shared, again)
        for one, other in zip(tensors, again, strict=True):
            assert np.array_equal(one, other)


def test_bytes_are_little_endian_float32_in_order():
    tensors = (np.array([[1.0, -2.0]], np.float32), np.array(0.5, np.float32))
    assert to_bytes(tensors).hex() == "0000803f" + "000000c0" + "0000003f"


def test_a_transposed_tensor_travels_in_its_own_order():
    tensor = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert flatten((tensor,)).tolist() == [0, 3, 1, 4, 2, 5]


@given(shapes, st.integers(1, 8))
def test_a_wrong_length_is_refused(shapes, extra):
    shared = described(shapes)
    with pytest.raises(OwnFault):
        from_bytes(shared, to_bytes(example(shared)) + bytes(extra))


def test_the_digest_binds_names_shapes_and_values():
    values = np.arange(6, dtype=np.float32)
    variants = [
        ((SharedTensor("a", (6,)),), (values,)),
        ((SharedTensor("b", (6,)),), (values,)),
        ((SharedTensor("a", (2, 3)),), (values.reshape(2, 3),)),
        ((SharedTensor("a", (6,)),), (values + 1,)),
        ((SharedTensor("a", (2,)), SharedTensor("c", (4,))), (values[:2], values[2:])),
    ]
    assert len({digest(shared, tensors) for shared, tensors in variants}) == len(variants)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(OperatorFault, match="learning rate"):
        check_tensors(described([(1,)]), (np.array([np.inf], np.float32),))


def test_doubles_are_refused():
    with pytest.raises(OwnFault, match="float64"):
        check_tensors(described([(1,)]), (np.zeros(1),))


@pytest.mark.parametrize(
    "shared",
    [
        [],
        [SharedTensor("a", (1,)), SharedTensor("a", (2,))],
        [SharedTensor("a", (2**14, 2**14))],
    ],
)
def test_impossible_descriptions_are_refused(shared):
    with pytest.raises(OwnFault):
        check_shared(shared)


@pytest.mark.parametrize("arguments", [("", (1,)), ("a", (0,)), ("a", (1,), 0.0), ("a", (1,), float("nan"))])
def test_impossible_tensors_are_refused(arguments):
    with pytest.raises(OwnFault):
        SharedTensor(*arguments)


def test_initial_weights_are_uniform_and_pinned():
    """The bytes must never change: members of old and new releases share jobs."""
    weights = uniform(0, "scores.weight", (10, 576), 1 / 24)
    assert weights.dtype == np.float32
    assert abs(weights).max() <= 1 / 24
    assert abs(float(weights.mean())) < 0.001
    assert abs(float(weights.std()) - 1 / 24 / 3**0.5) < 0.001
    assert hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest() == PINNED


PINNED = "0dd119b0a10ad8eccbb54da85a5150a25bb888da8a13fd48a7b5b4f7262c27ef"


def test_initial_weights_differ_by_seed_and_name():
    draws = [uniform(seed, name, (8,), 1.0).tolist() for seed, name in [(0, "a"), (1, "a"), (0, "b")]]
    assert draws[0] != draws[1] != draws[2] != draws[0]
