"""Small random models as checkpoints, and what plain transformers says of their texts."""

import shutil

import torch
import transformers

from benchmarks.load.texts import model_folder

TINY = {
    "vocab_size": 30522, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 128, "initializer_range": 0.2,
}  # fmt: skip


class Oracle:
    """What plain transformers says."""

    def __init__(self, folder, loader):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = loader.from_pretrained(folder).eval()
        self.most = self.model.config.max_position_embeddings

    def run(self, *texts, side="right"):
        self.tokenizer.truncation_side = side
        given = self.tokenizer(
            *texts, return_tensors="pt", truncation="longest_first", max_length=self.most
        )
        with torch.inference_mode():
            return self.model(**given)


def write_checkpoint(folder, loader, **changes):
    """A model of ``loader``'s kind with the embedded model's tokenizer."""
    torch.manual_seed(1)
    loader.from_config(transformers.BertConfig(**TINY, **changes)).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (model_folder() / file).exists():
            shutil.copy(model_folder() / file, folder)
