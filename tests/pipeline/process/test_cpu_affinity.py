"""Cores and threads of each device, decided before anything is loaded."""

import pytest

from pipeline.process.cpu_affinity import Share, check_cores, physical_cores, shares
from pipeline.settings.sources import load_settings
from pipeline.settings.table import SettingError


@pytest.fixture
def hyperthreads(tmp_path):
    """A machine's description: 8 cores, of which 0 and 4, 1 and 5 ... are one in truth."""
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    return tmp_path


ALL = tuple(range(8))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [(ALL, 8)]),
        ({"device": "cpu,cpu"}, [(ALL, 4), (ALL, 4)]),
        ({"device": "cpu,cpu,cpu"}, [(ALL, 2)] * 3),
        ({"device": ",".join(["null"] * 9)}, [(ALL, 1)] * 9),
        ({"device_threads": "3", "device": "cpu,cpu"}, [(ALL, 3), (ALL, 3)]),
        ({"device_cpus": "1,3"}, [((1, 3), 2)]),
        ({"device_cpus": "0-3", "device": "cpu,cpu"}, [((0, 1, 2, 3), 2)] * 2),
        ({"device_cpus": "0;1-2", "device": "cpu,cpu"}, [((0,), 1), ((1, 2), 2)]),
        ({"device_cpus": "0", "device_threads": "2"}, [((0,), 2)]),
    ],
)
def test_a_device_gets_its_cores_or_an_equal_part(values, expected, tmp_path):
    settings, _ = load_settings(values, {})
    assert shares(settings, range(8), tmp_path) == tuple(Share(*share) for share in expected)


def test_hyperthreads_count_once(hyperthreads):
    assert physical_cores(range(8), hyperthreads) == 4
    assert physical_cores([0, 4, 5], hyperthreads) == 2
    settings, _ = load_settings({"device": "cpu,cpu"}, {})
    assert [share.threads for share in shares(settings, range(8), hyperthreads)] == [2, 2]


def test_cores_that_are_not_there_are_refused_with_those_that_are():
    settings, sources = load_settings({"device_cpus": "0;6-7", "device": "cpu,cpu"}, {})
    check_cores(settings, "", range(8))
    with pytest.raises(SettingError) as caught:
        check_cores(settings, sources["device_cpus"], [0, 1, 2, 3, 6])
    assert str(caught.value) == (
        "DEVICE_CPUS=0;6-7 (flag --device-cpus) is not allowed: must be of the cores 0-3,6, "
        "which this process may run on"
    )
