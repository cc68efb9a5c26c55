"""Devices and cores, as settings name them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings.device_kinds import CpuSets
from pipeline.settings.sources import load_settings


@pytest.mark.parametrize("value", ["cpu", "cpu, cpu", "null,null,null", "cuda", "cuda:3,cuda:0"])
def test_several_devices_of_one_kind_are_taken_in_order(value):
    settings, _ = load_settings({"device": value}, {})
    assert settings.device == tuple(value.replace(" ", "").split(","))


def test_cores_are_numbers_and_spans_a_set_for_all_devices_or_one_for_each(tmp_path):
    one, _ = load_settings({"device_cpus": "2-3, 0"}, {})
    assert one.device_cpus == ((0, 2, 3),)
    file = tmp_path / "settings.toml"
    file.write_text('device = ["cpu", "cpu"]\ndevice_cpus = [[0, 1], [2, 3]]\n')
    two, _ = load_settings({}, {}, file)
    assert (two.device, two.device_cpus) == (("cpu", "cpu"), ((0, 1), (2, 3)))


@given(st.lists(st.sets(st.integers(0, 300), min_size=1)))
def test_cores_survive_a_round_trip(sets):
    value = tuple(tuple(sorted(cores)) for cores in sets)
    assert CpuSets().parse(CpuSets().show(value)) == value
