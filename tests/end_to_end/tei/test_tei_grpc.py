"""TEI's gRPC clients against the embedded model: vectors of texts and tokens, and the tokens."""

import numpy as np
import torch
import transformers
from tei_calls import TEXTS, TOLERANCE, answered, assert_alike, embed

from benchmarks.load.texts import model_folder


def test_embed_and_its_stream_agree_with_plain_transformers(ask):
    requests = [embed(text, truncate=True) for text in TEXTS]
    alone = ask("embedded", *(["Embed", "Embed", [request]] for request in requests))
    (streamed,) = ask("embedded", ["Embed", "EmbedStream", requests])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
    model = transformers.AutoModel.from_pretrained(model_folder()).eval()
    for text, one, other in zip(TEXTS, alone, answered(streamed), strict=True):
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.inference_mode():
            vector = model(**given).last_hidden_state[0].mean(0).numpy()
        (answer,) = answered(one)
        expected = vector / np.linalg.norm(vector)
        assert np.abs(np.array(answer["embeddings"]) - expected).max() <= TOLERANCE
        assert np.abs(np.array(other["embeddings"]) - expected).max() <= TOLERANCE
        assert answer["metadata"]["compute_chars"] == len(text)
        assert answer["metadata"]["compute_tokens"] == given["input_ids"].shape[1]
        assert int(answer["metadata"]["total_time_ns"]) > 0
        assert int(answer["metadata"]["inference_time_ns"]) > 0


def test_every_token_of_a_text_has_the_vector_of_plain_transformers(ask):
    requests = [embed(text, truncate=True) for text in TEXTS]
    (alone, streamed) = ask(
        "embedded",
        ["Embed", "EmbedAll", requests[:1]],
        ["Embed", "EmbedAllStream", requests],
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
    model = transformers.AutoModel.from_pretrained(model_folder()).eval()
    for text, answer in zip(TEXTS, answered(streamed), strict=True):
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.inference_mode():
            expected = model(**given).last_hidden_state[0].numpy()
        found = np.array([row["embeddings"] for row in answer["token_embeddings"]])
        assert np.abs(found - expected).max() <= TOLERANCE * 4
    assert_alike(alone, streamed, "token_embeddings", "embeddings")


def test_tokenize_and_decode(ask):
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
    requests = [{"inputs": text, "add_special_tokens": True} for text in TEXTS]
    bare = {"inputs": TEXTS[2], "add_special_tokens": False}
    (streamed, alone) = ask(
        "embedded", ["Tokenize", "TokenizeStream", requests], ["Tokenize", "Tokenize", [bare]]
    )
    spelled = answered(streamed)
    for text, answer in zip(TEXTS, spelled, strict=True):
        expected = tokenizer(text, return_offsets_mapping=True, verbose=False)
        tokens = answer["tokens"]
        assert [token["id"] for token in tokens] == expected["input_ids"]
        assert [tokens[0]["text"], tokens[-1]["text"]] == ["[CLS]", "[SEP]"]
        assert [token["special"] for token in tokens] == [
            place in {0, len(tokens) - 1} for place in range(len(tokens))
        ]
        inner = list(zip(tokens, expected["offset_mapping"], strict=True))[1:-1]
        for token, (start, stop) in inner:
            before, here = text[:start].encode(), text[start:stop].encode()
            assert (token["start"], token["stop"]) == (len(before), len(before) + len(here))
            assert token["text"] == text[start:stop]
    assert answered(alone)[0]["tokens"] == spelled[2]["tokens"][1:-1]
    ids = [[token["id"] for token in answer["tokens"]] for answer in spelled]
    (decoded, whole) = ask(
        "embedded",
        ["Tokenize", "DecodeStream", [{"ids": row, "skip_special_tokens": True} for row in ids]],
        ["Tokenize", "Decode", [{"ids": ids[1]}]],
    )
    expected = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert [answer["text"] for answer in answered(decoded)] == expected
    assert answered(whole) == [{"text": "[CLS] water [SEP]"}]
