"""What importing and making a device brings into the process, and what it leaves out."""

import subprocess
import sys

import pytest
from tiny_models import write_checkpoint

from stages.device.checkpoint.recipe import Recipe
from stages.device.engine import Engine
from stages.device.factory import make_device
from stages.device.making import made_alone, one_is_made
from stages.device.spec import EngineSpec


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


IMPORT = (
    "import sys\n"
    "from stages.device.factory import import_device\n"
    "from stages.device.spec import EngineSpec\n"
    "import_device(EngineSpec(device='cpu'))\n"
)


def test_a_device_on_a_cpu_brings_no_compiler(tmp_path):
    write_checkpoint(tmp_path, "bert", [])
    run(
        f"{IMPORT}"
        "from pathlib import Path\n"
        "from stages.device.factory import make_device\n"
        "from stages.device.checkpoint.recipe import Recipe\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "spec = EngineSpec(folder, Recipe.read(folder), device='cpu', max_tokens_per_batch=512)\n"
        "assert make_device(spec).dimension == 32\n"
        "unneeded = {'sympy', 'torch._dynamo', 'torch.distributed.tensor'}\n"
        "assert not unneeded & set(sys.modules), unneeded & set(sys.modules)\n"
    )


def test_who_asks_for_the_compiler_and_for_shards_afterwards_gets_them():
    run(
        f"{IMPORT}"
        "import torch\n"
        "assert torch.distributed.is_available()\n"
        "from torch.distributed.tensor import DTensor\n"
        "double = torch.compile(lambda x: 2 * x, backend='eager')\n"
        "assert double(torch.ones(3)).tolist() == [2, 2, 2]\n"
        "assert torch._dynamo.utils.counters['stats']['unique_graphs'] == 1\n"
    )


def test_masks_that_need_the_compiler_import_it():
    run(
        f"{IMPORT}"
        "import torch\n"
        "from transformers import masking_utils\n"
        "with masking_utils.TransformGetItemToIndex():\n"
        "    table = torch.arange(6).view(2, 3)\n"
        "    row = torch.func.vmap(lambda i: table[0][i])(torch.tensor([2, 1]))\n"
        "assert row.tolist() == [2, 1]\n"
        "assert 'torch._dynamo' in sys.modules\n"
    )


def test_libraries_that_want_more_of_the_compiler_get_it():
    run(
        "from stages.device.checkpoint import lean_import\n"
        "lean_import.MARKS = ()\n"
        f"{IMPORT}"
        "import torch\n"
        "assert torch.distributed.is_available()\n"
        "assert torch._dynamo.__file__\n"
        "from transformers import BertConfig, BertModel\n"
        "BertModel(BertConfig(num_hidden_layers=1))\n"
    )


def test_reading_recipes_and_the_null_device_import_neither_torch_nor_transformers():
    run(
        "import sys\n"
        "import stages.device.checkpoint.recipe, stages.device.checkpoint.fingerprint\n"
        "from stages.device.factory import make_device\n"
        "from stages.device.spec import EngineSpec\n"
        "make_device(EngineSpec(device='null'))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
    )


def test_engines_on_gpus_are_made_one_after_another(monkeypatch):
    alone = []
    monkeypatch.setattr("stages.device.engine.Engine", lambda _spec: alone.append(one_is_made()))
    for number in range(2):
        make_device(EngineSpec(device=f"cuda:{number}"))
    assert alone == [True, True]
    assert not one_is_made()


def test_an_engine_captures_nothing_while_another_is_made(tmp_path):
    write_checkpoint(tmp_path, "bert", [])
    spec = EngineSpec(tmp_path, Recipe.read(tmp_path), device="cpu", max_tokens_per_batch=512)
    engine = Engine(spec)
    assert not engine.idle()
    with made_alone():
        assert engine.idle()
    assert not engine.idle()
