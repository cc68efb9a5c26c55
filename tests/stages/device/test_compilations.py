"""Compiling for several devices: each in its own thread, and all within one count."""

import warnings
from threading import Thread

import pytest
import torch
import torch._dynamo

from stages.device.compilations import DEVICES, allow_compilations
from stages.device.padded import let_this_thread_capture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what it imports is deprecated
    from torch._inductor import cudagraph_trees


@pytest.fixture(autouse=True)
def _as_it_was():
    with torch._dynamo.config.patch(recompile_limit=8, accumulated_recompile_limit=256):
        yield


def test_every_device_may_compile_all_its_shapes():
    allow_compilations(40)
    config = torch._dynamo.config
    assert config.recompile_limit == 40 * DEVICES
    assert config.accumulated_recompile_limit >= config.recompile_limit


def test_what_another_device_was_allowed_stays():
    allow_compilations(40)
    allow_compilations(1)
    assert torch._dynamo.config.recompile_limit == 40 * DEVICES


def test_a_device_s_thread_may_capture_the_compiler_s_graphs():
    found = []

    def look():
        found.append(hasattr(cudagraph_trees.local, "tree_manager_containers"))
        let_this_thread_capture()
        kept = cudagraph_trees.local.tree_manager_containers
        let_this_thread_capture()
        found.append(kept is cudagraph_trees.local.tree_manager_containers)
        found.append(cudagraph_trees.get_obj(cudagraph_trees.local, "tree_manager_containers"))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert found == [False, True, {}]
