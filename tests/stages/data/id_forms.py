"""Token ids as a client sends them, and as they are read back, for tests."""

import numpy as np
from hypothesis import strategies as st

from stages.data.input_limits import InputLimits

VOCABULARY = 100
LIMITS = InputLimits(max_items=8, max_item_bytes=64, vocabulary=VOCABULARY)

ITEMS = st.lists(
    st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=16), min_size=1, max_size=8
)


def i32(*values):
    return np.asarray(values, "<i4").tobytes()


def as_lists(ragged):
    return [ragged.item(index).tolist() for index in range(len(ragged))]
