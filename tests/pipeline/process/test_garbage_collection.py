"""What a settled server leaves to the garbage collector."""

import gc
import weakref

import pytest

from pipeline.process.garbage_collection import YOUNG_OBJECTS, settle


@pytest.fixture
def restored():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Knot:
    def __init__(self):
        self.me = self


def test_what_exists_is_held_and_new_cycles_are_still_found(restored):
    settle()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] == YOUNG_OBJECTS
    knots = [weakref.ref(Knot())]
    keep = [[] for _ in range(2 * YOUNG_OBJECTS)]
    assert knots[0]() is None
    assert keep
