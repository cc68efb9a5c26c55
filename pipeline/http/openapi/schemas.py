"""The shapes of requests and answers, with the limits that are in force."""

from attrs import frozen

from pipeline.face import ModelInfo, RequestLimits
from pipeline.http.openapi.shapes import (
    NULL,
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


@frozen
class Bounds:
    """What the loaded model takes; wide open while there is none."""

    max_items: int
    max_tokens: int
    vocabulary: int
    dimension: int
    prompts: tuple[str, ...]

    @classmethod
    def of(cls, model: ModelInfo | None, limits: RequestLimits) -> "Bounds":
        """The bounds in force."""
        if model is None:
            return cls(limits.max_items, 1 << 20, 1 << 31, 1 << 16, ())
        return cls(
            limits.max_items,
            model.max_tokens,
            model.vocabulary,
            model.dimension,
            tuple(sorted(model.prompts)),
        )


def schemas(bounds: Bounds) -> Shape:
    """All of them, by name."""
    return {
        **_common(bounds),
        **_openai(bounds),
        **_tei(bounds),
    }


def _items(bounds: Bounds, about: str, **more: object) -> Shape:
    ids = many(
        whole(minimum=0, maximum=bounds.vocabulary - 1), "The token ids of an item", minItems=1
    )
    return either(
        about,
        text("A text", **more),
        many(text(**more), "Texts", minItems=1, maxItems=bounds.max_items),
        ids,
        many(ids, "The token ids of several items", minItems=1, maxItems=bounds.max_items),
    )


def _common(bounds: Bounds) -> Shape:
    return {
        "Prompt": {
            "enum": ["", *bounds.prompts, None],
            "description": "One of the model's prompts, put before every text",
        },
        "Dimensions": maybe(
            whole(
                "Keep the first so many dimensions, and normalise anew",
                minimum=1,
                maximum=bounds.dimension,
            )
        ),
        "Vector": many(number(), "One number a dimension"),
    }


def _openai(bounds: Bounds) -> Shape:
    cut = {"minimum": 1, "maximum": bounds.max_tokens}
    usage = thing({"prompt_tokens": whole(), "total_tokens": whole()})
    about_error = {
        "message": text(),
        "type": text(),
        "param": maybe(text("The member at fault")),
        "code": maybe(text()),
    }
    model = {"id": text(), "object": {"const": "model"}, "created": whole(), "owned_by": text()}
    return {
        "EmbeddingsRequest": thing(
            {
                "input": _items(bounds, "What to embed"),
                "model": maybe(text("Taken as it comes: there is one model")),
                "user": maybe(text("Taken as it comes")),
                "encoding_format": one_of("Numbers, or base64 of their bytes", "float", "base64"),
                "dimensions": ref("Dimensions"),
                "embed_dtype": one_of(
                    "The numbers of the vectors; int8 comes with a `scale` an item, binary is a "
                    "bit a dimension",
                    *("float32", "float16", "int8", "binary"),
                ),
                "truncate": flag("Cut texts that are too long; else they are errors", default=True),
                "truncate_prompt_tokens": either(
                    "Cut at so many tokens; -1: at the model's maximum",
                    {"const": -1},
                    whole(**cut),
                    NULL,
                ),
                "truncation_side": one_of("Where texts are cut", "right", "left"),
                "priority": either(
                    "`bulk`, or a number above 0, yields to other requests",
                    {"enum": ["interactive", "bulk"]},
                    whole(),
                    NULL,
                ),
                "prompt_name": ref("Prompt"),
                "request_id": maybe(
                    text("Comes back as x-request-id", maxLength=256, pattern="^[ -~]*$")
                ),
            },
            "input",
        ),
        "EmbeddingsAnswer": thing(
            {
                "object": {"const": "list"},
                "data": many(ref("Embedding")),
                "model": text(),
                "usage": usage,
            },
            *("object", "data", "model", "usage"),
        ),
        "Embedding": thing(
            {
                "object": {"const": "embedding"},
                "index": whole(minimum=0),
                "embedding": either("The vector", ref("Vector"), text(contentEncoding="base64")),
                "scale": number("int8 only: value = number x scale"),
            },
            *("object", "index", "embedding"),
        ),
        "Models": thing(
            {"object": {"const": "list"}, "data": many(thing(model, "id", "object"))},
            *("object", "data"),
        ),
        "OpenAIError": thing({"error": thing(about_error, *about_error)}, "error"),
    }


def _tei(bounds: Bounds) -> Shape:
    options = {
        "truncate": flag("Cut texts that are too long; else they are errors", default=True),
        "truncation_direction": one_of("Where texts are cut", "right", "left"),
        "prompt_name": ref("Prompt"),
    }
    sentence = text(minLength=1)
    pairs = {
        "source_sentence": sentence,
        "sentences": many(sentence, minItems=1, maxItems=bounds.max_items - 1),
    }
    nullable = {"type": ["string", "null"]}
    return {
        "EmbedRequest": thing(
            {
                "inputs": _items(bounds, "What to embed", minLength=1),
                "normalize": flag("Vectors of length 1", default=True),
                "dimensions": ref("Dimensions"),
                **options,
            },
            "inputs",
        ),
        "EmbedAnswer": many(ref("Vector"), "A vector an item"),
        "SimilarityRequest": thing(
            {"inputs": thing(pairs, *pairs), "parameters": maybe(thing(options))}, "inputs"
        ),
        "SimilarityAnswer": many(number(), "The cosine of each sentence to the source sentence"),
        "Info": thing(
            {
                "model_id": text(),
                "model_sha": nullable,
                "model_dtype": text(),
                "model_type": thing({}),
                "max_concurrent_requests": whole(),
                "max_input_length": whole("In tokens"),
                "max_batch_tokens": whole(),
                "max_batch_requests": {"type": ["integer", "null"]},
                "max_client_batch_size": whole(),
                "auto_truncate": {"type": "boolean"},
                "tokenization_workers": whole(),
                "version": text(),
                "sha": nullable,
                "docker_label": nullable,
            },
            *("model_id", "model_dtype", "model_type", "max_input_length"),
        ),
        "TeiError": thing({"error": text(), "error_type": text()}, "error", "error_type"),
    }
