import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stages.data.answer_format import (
    AnswerFormat,
    Encoding,
    finish_vectors,
    format_vectors,
)

RAW = AnswerFormat(normalize=False)
UNIT = AnswerFormat(normalize=True)

matrices = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.floats(-1e4, 1e4, width=32),
)


def floats(formatted, dtype="<f4"):
    return np.frombuffer(formatted.data, dtype).reshape(-1, formatted.dimension)


@given(matrices)
def test_normalised_rows_are_right_to_float32(vectors):
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    exact /= np.maximum(norms, 1e-12)
    assert np.abs(floats(format_vectors(vectors, UNIT)) - exact).max() <= 1.2e-7


@given(matrices, st.data())
def test_a_cut_keeps_the_first_dimensions_and_normalises_again(vectors, data):
    keep = data.draw(st.integers(1, vectors.shape[1]))
    cut = format_vectors(vectors, AnswerFormat(normalize=True, dimensions=keep))
    assert cut.dimension == keep
    whole = finish_vectors(np.ascontiguousarray(vectors[:, :keep]), UNIT)
    np.testing.assert_allclose(floats(cut), whole, atol=1.2e-7)
    raw = format_vectors(vectors, AnswerFormat(normalize=False, dimensions=keep))
    assert floats(raw).tolist() == vectors[:, :keep].tolist()


@given(matrices)
def test_int8_is_within_half_a_step(vectors):
    formatted = format_vectors(vectors, AnswerFormat(normalize=False, encoding=Encoding.INT8))
    values = floats(formatted, "i1").astype(np.float64)
    scales = np.frombuffer(formatted.scales, "<f4")[:, None].astype(np.float64)
    error = np.abs(values * scales - vectors)
    assert (error <= 0.5001 * scales + 1e-30).all()


@given(matrices)
def test_binary_is_the_sign_packed(vectors):
    formatted = format_vectors(vectors, AnswerFormat(normalize=False, encoding=Encoding.BINARY))
    packed = np.frombuffer(formatted.data, np.uint8).reshape(len(vectors), -1)
    bits = np.unpackbits(packed, axis=1)[:, : formatted.dimension]
    assert formatted.dimension == vectors.shape[1]
    assert bits.tolist() == (vectors > 0).astype(int).tolist()


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_failed_row_stays_zeros(encoding):
    vectors = np.ones((2, 8), np.float32)
    vectors[1] = 0
    formatted = format_vectors(vectors, AnswerFormat(normalize=True, encoding=encoding))
    half = len(formatted.data) // 2
    assert not any(formatted.data[half:])
    assert any(formatted.data[:half])


def test_float16_saturates_instead_of_overflowing():
    vectors = np.array([[1e6, -1e6, 0.5]], np.float32)
    formatted = format_vectors(vectors, AnswerFormat(normalize=False, encoding=Encoding.FLOAT16))
    assert floats(formatted, "<f2").tolist() == [[65504.0, -65504.0, 0.5]]


def test_nothing_to_do_is_no_work():
    vectors = np.ones((2, 8), np.float32)
    assert finish_vectors(vectors, RAW) is vectors
    assert finish_vectors(vectors, AnswerFormat(normalize=False, dimensions=8)) is vectors
    assert format_vectors(vectors, RAW).scales == b""
