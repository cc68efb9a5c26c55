from benchmarks.engine.shapes import SHAPES, text, write_checkpoint
from benchmarks.engine.shapes import ids as ids_of
from benchmarks.load.mixes import fixed as of_length
from benchmarks.load.mixes import lengths, token_ids
from stages.device.checkpoint.recipe import Recipe
from stages.text.text_tokenizer import TextTokenizer


def test_a_random_checkpoint_has_a_recipe_and_a_tokenizer_of_whole_words(tmp_path):
    folder = write_checkpoint(tmp_path, "tiny")
    recipe = Recipe.read(folder)
    assert (recipe.pooling_name, recipe.normalize, recipe.max_tokens) == ("mean", True, 512)
    vocabulary = SHAPES["tiny"][1]["vocab_size"]
    tokenizer = TextTokenizer.load(folder)
    assert tokenizer.vocabulary == vocabulary
    for ids in token_ids(lengths(of_length(50), 500), vocabulary):
        (encoded,) = tokenizer.encode([text(ids)])
        assert encoded[1:-1].tolist() == ids[1:-1].tolist()
        assert len(encoded) == 50
        assert ids_of(text(ids)).tolist() == encoded.tolist()
