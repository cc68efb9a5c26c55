"""What a checkpoint folder declares, in every spelling in use."""

import json

import pytest

from stages.device.checkpoint.modules import Dense, Normalize
from stages.device.checkpoint.recipe import Recipe
from stages.device.errors import ModelError

BERT = {"model_type": "bert", "max_position_embeddings": 512}
PAD_1 = {"max_position_embeddings": 514, "pad_token_id": 1}
SHORT, LONG = "sentence_transformers.models", "sentence_transformers.base.modules"


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "config.json", BERT)
    return tmp_path


def write(folder, name, value):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value))


def declare(folder, *types, pooling=None):
    paths = ["", *(f"{number}_module" for number in range(1, len(types)))]
    rows = [{"type": kind, "path": path} for kind, path in zip(types, paths, strict=True)]
    write(folder, "modules.json", rows)
    write(folder, "1_module/config.json", pooling or {"pooling_mode": "mean"})


def test_without_modules_the_mean_is_normalised_and_marked_as_a_guess(folder):
    assert Recipe.read(folder) == Recipe(("mean",), 512, normalize=True, declared=False)


@pytest.mark.parametrize(
    "types",
    [
        (f"{SHORT}.Transformer", f"{SHORT}.Pooling", f"{SHORT}.Normalize"),
        (
            f"{LONG}.transformer.Transformer",
            "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
            f"{LONG}.normalize.Normalize",
        ),
        ("sentence_transformers.models.transformer.Transformer",
         "sentence_transformers.models.pooling.Pooling",
         "sentence_transformers.models.normalize.Normalize"),
    ],
)  # fmt: skip
def test_module_types_are_known_in_all_their_spellings(folder, types):
    declare(folder, *types)
    assert Recipe.read(folder) == Recipe(("mean",), 512, normalize=True)


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        (
            {"pooling_mode_lasttoken": True, "pooling_mode_max_tokens": True},
            ("max", "lasttoken"),
        ),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, ("mean_sqrt_len_tokens",)),
        ({"pooling_mode": "weightedmean"}, ("weightedmean",)),
        ({"pooling_mode": ["lasttoken", "cls"]}, ("lasttoken", "cls")),
        ({"word_embedding_dimension": 8}, ("mean",)),
    ],
)
def test_pooling_modes_are_read_from_flags_and_from_names(folder, config, modes):
    declare(folder, f"{SHORT}.Transformer", f"{SHORT}.Pooling", pooling=config)
    recipe = Recipe.read(folder)
    assert recipe.pooling == modes
    assert recipe.pooling_name == "+".join(modes)
    assert not recipe.normalize


def test_pooling_may_be_overridden_by_names(folder):
    recipe = Recipe.read(folder, pooling_override="cls, mean_sqrt_len")
    assert recipe.pooling == ("cls", "mean_sqrt_len_tokens")
    with pytest.raises(ModelError, match=r"POOLING: unknown pooling 'median' \(allowed: cls, max"):
        Recipe.read(folder, pooling_override="median")


def test_dense_and_a_normalize_in_the_midst_are_the_head_and_the_last_one_is_not(folder):
    declare(folder, *(f"{SHORT}.{kind}" for kind in
                      ("Transformer", "Pooling", "Normalize", "Dense", "Normalize")))  # fmt: skip
    dense = {
        "in_features": 8,
        "out_features": 4,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    write(folder, "3_module/config.json", dense)
    recipe = Recipe.read(folder)
    assert recipe.head == (Normalize(), Dense("3_module", 8, 4, bias=False, activation="Identity"))
    assert recipe.normalize


@pytest.mark.parametrize(
    ("types", "named"),
    [
        (("Transformer", "WordWeights"), "WordWeights"),
        (("Transformer", "Pooling", "CNN"), "CNN"),
        (("StaticEmbedding", "Normalize"), "StaticEmbedding"),
        (("Transformer", "Normalize"), "Transformer, Normalize"),
    ],
)
def test_a_module_that_is_not_known_is_named(folder, types, named):
    declare(folder, *(f"{SHORT}.{kind}" for kind in types))
    with pytest.raises(ModelError, match=named):
        Recipe.read(folder)


def test_a_module_of_remote_code_is_not_taken_for_its_namesake(folder):
    declare(folder, "custom_st.Transformer", f"{SHORT}.Pooling")
    with pytest.raises(ModelError, match=r"custom_st\.Transformer"):
        Recipe.read(folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"activation_function": "os.system"}, "os.system"),
        ({"activation_function": "torch.nn.modules.activation.Softmax2d"}, "Softmax2d"),
        ({"module_input_name": "token_embeddings"}, "token_embeddings"),
        ({"in_features": None}, "in_features"),
    ],
)
def test_a_dense_module_that_is_not_known_is_refused(folder, change, named):
    declare(folder, f"{SHORT}.Transformer", f"{SHORT}.Pooling", f"{SHORT}.Dense")
    write(folder, "2_module/config.json", {"in_features": 8, "out_features": 4} | change)
    with pytest.raises(ModelError, match=named):
        Recipe.read(folder)


@pytest.mark.parametrize(
    ("config", "sentence", "tokenizer", "expected"),
    [
        (BERT, {"max_seq_length": 256}, {}, 256),
        (BERT, {"max_seq_length": 999}, {}, 512),
        (BERT, None, {"model_max_length": 64}, 64),
        (BERT, None, {"model_max_length": 1e30}, 512),
        ({"model_type": "roberta"} | PAD_1, None, {}, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 514}, None, {}, 512),
        ({"model_type": "mpnet"} | PAD_1, None, {}, 512),
        ({"model_type": "t5"}, None, {}, 512),
        ({"model_type": "t5"}, {"max_seq_length": 2048}, {}, 2048),
    ],
)  # fmt: skip
def test_the_longest_text_is_what_positions_and_declarations_allow(
    folder, config, sentence, tokenizer, expected
):
    write(folder, "config.json", config)
    write(folder, "tokenizer_config.json", tokenizer)
    declare(folder, f"{SHORT}.Transformer", f"{SHORT}.Pooling")
    if sentence is not None:
        write(folder, "sentence_roberta_config.json", sentence)
    assert Recipe.read(folder).max_tokens == expected


def test_encoder_folder_prompts_and_case_are_read(folder):
    rows = [
        {"type": f"{SHORT}.Transformer", "path": "0_Transformer"},
        {"type": f"{SHORT}.Pooling", "path": "1_Pooling"},
    ]
    write(folder, "modules.json", rows)
    write(folder, "0_Transformer/config.json", {"model_type": "bert"})
    write(folder, "0_Transformer/sentence_bert_config.json", {"do_lower_case": True})
    write(folder, "1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False})
    prompts = {"prompts": {"query": "Find: "}, "default_prompt_name": "query"}
    write(folder, "config_sentence_transformers.json", prompts)
    recipe = Recipe.read(folder)
    assert recipe.encoder_path == "0_Transformer"
    assert recipe.lower_case
    assert not recipe.include_prompt
    assert (recipe.prompts, recipe.default_prompt_name) == ({"query": "Find: "}, "query")


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("modules.json", "{", "is not JSON"),
        ("modules.json", '[{"idx": 0}]', "not a list of modules"),
        ("config.json", "[]", "JSON object"),
        ("config_sentence_transformers.json", '{"prompts": ["a"]}', "prompts must map"),
        ("config_sentence_transformers.json", '{"default_prompt_name": "q"}', "'q' is not among"),
        ("sentence_bert_config.json", '{"transformer_task": "fill-mask"}', "fill-mask"),
    ],
)
def test_a_broken_file_is_named(folder, name, text, named):
    declare(folder, f"{SHORT}.Transformer", f"{SHORT}.Pooling")
    (folder / name).write_text(text)
    with pytest.raises(ModelError, match=named):
        Recipe.read(folder)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        Recipe.read(tmp_path)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertModel", "embed"),
        ("BertForMaskedLM", "masked_lm"),
        ("BertForSequenceClassification", "classify"),
        ("BertForTokenClassification", "embed"),
    ],
)
def test_the_task_is_that_of_the_architecture(folder, architecture, task):
    write(folder, "config.json", {**BERT, "architectures": [architecture]})
    assert Recipe.read(folder).task == task


def test_a_declared_pooling_makes_an_embedding_model_of_a_classifier(folder):
    write(folder, "config.json", {**BERT, "architectures": ["BertForSequenceClassification"]})
    declare(folder, f"{SHORT}.Transformer", f"{SHORT}.Pooling")
    assert Recipe.read(folder).task == "embed"


def test_labels_stand_in_the_order_of_their_numbers(folder):
    named = {str(number): f"label {number}" for number in (10, 2, 0)}
    write(folder, "config.json", {**BERT, "id2label": named})
    recipe = Recipe.read(folder)
    assert recipe.labels == ("label 0", "label 2", "label 10")
    assert recipe.named_labels(3) == recipe.labels
    assert recipe.named_labels(2) == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    "change", [{"pooling_strategy": "sum"}, {"activation_function": "log1p_relu"}]
)
def test_splade_of_another_kind_is_refused(folder, change):
    declare(folder, f"{SHORT}.MLMTransformer", f"{SHORT}.SpladePooling", pooling=change)
    with pytest.raises(ModelError, match="this kind of SpladePooling is not known"):
        Recipe.read(folder)
