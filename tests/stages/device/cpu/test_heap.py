"""Freed memory is kept between runs, and given back when the process has grown."""

import subprocess
import sys

from stages.device.cpu.heap import (
    GROWTH_BYTES,
    LOOK_EVERY_TOKENS,
    HeapTrimmer,
    keep_freed_memory,
    resident_bytes,
)


class Process:
    """Grows until it is trimmed; ``kept`` is what no trim gives back."""

    def __init__(self, kept=0):
        self.resident, self.kept, self.trims = kept, kept, 0

    def trim(self):
        self.resident, self.trims = self.kept, self.trims + 1


def test_it_trims_when_the_process_has_grown():
    process = Process()
    heap = HeapTrimmer(process.trim, lambda: process.resident)
    for _ in range(8):
        process.resident += GROWTH_BYTES // 2
        heap.ran(LOOK_EVERY_TOKENS)
    assert process.trims == 3  # at first, and then when one more would be above the bound


def test_how_much_it_may_grow_is_the_callers_choice():
    process = Process()
    heap = HeapTrimmer(process.trim, lambda: process.resident, 4 * GROWTH_BYTES)
    for _ in range(9):
        process.resident += GROWTH_BYTES
        heap.ran(LOOK_EVERY_TOKENS)
    assert process.trims == 2


def test_what_stays_is_no_growth():
    process = Process(kept=10 * GROWTH_BYTES)
    heap = HeapTrimmer(process.trim, lambda: process.resident)
    for _ in range(5):
        heap.ran(LOOK_EVERY_TOKENS)
    assert process.trims == 1


def test_what_others_held_at_a_trim_is_no_floor():
    process = Process()
    heap = HeapTrimmer(process.trim, lambda: process.resident)
    heap.ran(LOOK_EVERY_TOKENS)
    process.kept = process.resident = 2 * GROWTH_BYTES
    heap.ran(LOOK_EVERY_TOKENS)
    process.kept, before = 0, process.trims
    process.resident = 2 * GROWTH_BYTES
    heap.ran(LOOK_EVERY_TOKENS)
    assert process.trims == before + 1


def test_what_stays_from_some_time_on_becomes_the_floor():
    process = Process()
    heap = HeapTrimmer(process.trim, lambda: process.resident)
    heap.ran(LOOK_EVERY_TOKENS)
    process.kept = process.resident = 2 * GROWTH_BYTES
    for _ in range(200):
        heap.ran(LOOK_EVERY_TOKENS)
    before = process.trims
    heap.ran(LOOK_EVERY_TOKENS)
    assert process.trims == before < 150


def test_it_looks_only_once_in_so_many_tokens():
    looks = []
    heap = HeapTrimmer(lambda: None, lambda: looks.append(1) or 0)
    for _ in range(8):
        heap.ran(LOOK_EVERY_TOKENS // 4)
    assert len(looks) == 2


def test_without_a_way_to_trim_it_does_nothing():
    HeapTrimmer(None, lambda: 1 << 40).ran(LOOK_EVERY_TOKENS)


def test_the_kept_memory_can_be_given_back():
    trim = keep_freed_memory()
    if trim is not None:
        trim()


def test_resident_memory_is_that_of_this_process():
    before = resident_bytes()
    block = bytearray(b"x") * (32 << 20)
    assert resident_bytes() - before > len(block) // 2


IN_A_THREAD = """
import ctypes, resource, threading
from stages.device.cpu.heap import keep_freed_memory

keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def write(size):
    block = libc.malloc(size)
    libc.memset(block, 1, size)
    return block

def faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt

def work():
    for _ in range(80):  # MiB, so that some step is the last of an area
        write(1 << 20)
        libc.free(write(4 << 20))
        before = faults()
        libc.free(write(4 << 20))
        found.append(faults() - before)

found = []
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(max(found))
"""


def test_a_thread_finds_the_pages_that_it_has_just_freed_wherever_its_heap_ends():
    run = subprocess.run([sys.executable, "-c", IN_A_THREAD], stdout=subprocess.PIPE, check=True)
    assert int(run.stdout) < 100  # of 1,024
