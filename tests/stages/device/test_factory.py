"""What importing and making a device brings into the process, and what it leaves out."""

import subprocess
import sys

import pytest


def run(code):
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)


@pytest.mark.parametrize("first", ["", "import scipy"])
def test_a_device_brings_no_scipy_and_takes_none_away(first):
    run(
        f"{first or 'pass'}\n"
        "import sys\n"
        "before = 'scipy' in sys.modules\n"
        "from stages.device.factory import import_device\n"
        "from stages.device.spec import EngineSpec\n"
        "import_device(EngineSpec(device='cpu'))\n"
        "assert 'transformers' in sys.modules\n"
        "assert ('scipy' in sys.modules) == before\n"
        "import scipy.optimize\n"
    )


def test_reading_recipes_and_the_null_device_import_neither_torch_nor_transformers():
    run(
        "import sys\n"
        "import stages.device.recipe, stages.device.fingerprint\n"
        "from stages.device.factory import make_device\n"
        "from stages.device.spec import EngineSpec\n"
        "make_device(EngineSpec(device='null'))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )
