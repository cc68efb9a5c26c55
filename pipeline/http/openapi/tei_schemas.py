"""The shapes of TEI's requests and answers."""

from pipeline.http.openapi.bounds import Bounds, ids_shapes, items_shape, texts_shapes
from pipeline.http.openapi.shapes import (
    Shape,
    either,
    flag,
    many,
    maybe,
    number,
    one_of,
    ref,
    text,
    thing,
    whole,
)

NULLABLE_TEXT = {"type": ["string", "null"]}
NULLABLE_WHOLE = {"type": ["integer", "null"]}


def tei_schemas(bounds: Bounds) -> Shape:
    """All of them, by name."""
    cut = {
        "truncate": flag("Cut texts that are too long; else they are errors", default=True),
        "truncation_direction": one_of("Where texts are cut", "right", "left"),
    }
    options = {**cut, "prompt_name": ref("Prompt")}
    return {
        **_vectors(bounds, options),
        **_scores(bounds, cut),
        **_tokens(bounds),
        "Info": _info(),
        "TeiError": thing({"error": text(), "error_type": text()}, "error", "error_type"),
    }


def _vectors(bounds: Bounds, options: Shape) -> Shape:
    items = items_shape(bounds, "What to embed", minLength=1)
    sentence = text(minLength=1)
    pairs = {
        "source_sentence": sentence,
        "sentences": many(sentence, minItems=1, maxItems=bounds.max_items - 1),
    }
    ragged = thing({"inputs": items, **options}, "inputs")
    weight = thing({"index": whole("A token"), "value": number("Its weight")}, "index", "value")
    return {
        "EmbedRequest": thing(
            {
                "inputs": items,
                "normalize": flag("Vectors of length 1", default=True),
                "dimensions": ref("Dimensions"),
                **options,
            },
            "inputs",
        ),
        "EmbedAnswer": many(ref("Vector"), "One vector per item"),
        "EmbedAllRequest": ragged,
        "EmbedAllAnswer": many(many(ref("Vector")), "A vector for each token of each item"),
        "EmbedSparseRequest": ragged,
        "EmbedSparseAnswer": many(many(weight), "The weights of each item"),
        "SimilarityRequest": thing(
            {"inputs": thing(pairs, *pairs), "parameters": maybe(thing(options))}, "inputs"
        ),
        "SimilarityAnswer": many(number(), "The cosine of each sentence to the source sentence"),
    }


def _scores(bounds: Bounds, cut: Shape) -> Shape:
    raw = flag("The model's own numbers in place of probabilities", default=False)
    sentence = text(minLength=1)
    item = many(sentence, "A text, or a pair of texts", minItems=1, maxItems=2)
    inputs = either(
        "What to judge",
        sentence,
        item,
        many(item, "Texts and pairs", minItems=1, maxItems=bounds.max_items),
    )
    labelled = many(thing({"score": number(), "label": text()}, "score", "label"))
    rank = {"index": whole("Of the text"), "score": number(), "text": text()}
    return {
        "RerankRequest": thing(
            {
                "query": sentence,
                "texts": either("What may answer it", *texts_shapes(bounds, minLength=1)),
                "return_text": flag("Return the texts too", default=False),
                "raw_scores": raw,
                **cut,
            },
            *("query", "texts"),
        ),
        "RerankAnswer": many(thing(rank, "index", "score")),
        "PredictRequest": thing({"inputs": inputs, "raw_scores": raw, **cut}, "inputs"),
        "PredictAnswer": either("For one input, or for each", labelled, many(labelled)),
    }


def _tokens(bounds: Bounds) -> Shape:
    token = {
        "id": whole(),
        "text": text(),
        "special": {"type": "boolean"},
        "start": NULLABLE_WHOLE,
        "stop": NULLABLE_WHOLE,
    }
    return {
        "TokenizeRequest": thing(
            {
                "inputs": either("Texts", *texts_shapes(bounds)),
                "add_special_tokens": flag("With [CLS] and the like", default=True),
                "prompt_name": ref("Prompt"),
            },
            "inputs",
        ),
        "TokenizeAnswer": many(many(thing(token, *token)), "The tokens of each text"),
        "DecodeRequest": thing(
            {
                "ids": either("Token ids", *ids_shapes(bounds)),
                "skip_special_tokens": flag("Without [CLS] and the like", default=True),
            },
            "ids",
        ),
        "DecodeAnswer": many(text(), "The text of each item"),
    }


def _info() -> Shape:
    return thing(
        {
            "model_id": text(),
            "model_sha": NULLABLE_TEXT,
            "model_dtype": text(),
            "model_type": thing({}),
            "max_concurrent_requests": whole(),
            "max_input_length": whole("In tokens"),
            "max_batch_tokens": whole(),
            "max_batch_requests": NULLABLE_WHOLE,
            "max_client_batch_size": whole(),
            "auto_truncate": {"type": "boolean"},
            "tokenization_workers": whole(),
            "version": text(),
            "sha": NULLABLE_TEXT,
            "docker_label": NULLABLE_TEXT,
        },
        *("model_id", "model_dtype", "model_type", "max_input_length"),
    )
