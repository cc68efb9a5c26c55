"""Which files of a model are fetched."""

import pytest

from pipeline.models.errors import NoModel
from pipeline.models.files import choose_files


def choose(*names, trust_remote_code=False):
    return choose_files(names, trust_remote_code=trust_remote_code, where="the store")


def test_safetensors_leave_older_weights_out_folder_by_folder():
    assert choose(
        "config.json", "model.safetensors", "pytorch_model.bin", "2_Dense/pytorch_model.bin"
    ) == ["2_Dense/pytorch_model.bin", "config.json", "model.safetensors"]


def test_older_weights_are_taken_where_there_are_no_others():
    assert "pytorch_model.bin" in choose("config.json", "pytorch_model.bin", "optimizer.bin")


def test_code_is_taken_only_when_it_may_run():
    names = ("config.json", "model.safetensors", "modeling.py")
    assert "modeling.py" not in choose(*names)
    assert "modeling.py" in choose(*names, trust_remote_code=True)


@pytest.mark.parametrize(
    ("names", "needle"),
    [
        (["model.safetensors"], "no config.json"),
        (["config.json", "tokenizer.json"], "no weights"),
        (["config.json", "../model.safetensors"], "leads out"),
        (["config.json", "/etc/model.safetensors"], "leads out"),
    ],
)
def test_what_cannot_be_a_model_is_refused(names, needle):
    with pytest.raises(NoModel, match=needle) as caught:
        choose(*names)
    assert "the store" in str(caught.value)
