"""The shapes of requests and answers, with the limits that are in force."""

from pipeline.http.fields import LARGEST
from pipeline.http.openapi.bounds import Bounds, items_shape
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
from pipeline.http.openapi.tei_schemas import tei_schemas


def schemas(bounds: Bounds) -> Shape:
    """All of them, by name."""
    return {
        **_common(bounds),
        **_openai(bounds),
        **tei_schemas(bounds),
    }


def _common(bounds: Bounds) -> Shape:
    return {
        "Prompt": {
            "enum": ["", *bounds.prompts, None],
            "description": "One of the model's prompts, put before every text",
        },
        "Dimensions": maybe(
            whole(
                "How many of the first dimensions to keep; vectors are normalised again",
                minimum=1,
                maximum=bounds.dimension,
            )
        ),
        "Vector": many(number(), "One number per dimension"),
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
                "input": items_shape(bounds, "What to embed"),
                "model": maybe(text("Ignored: there is one model")),
                "user": maybe(text("Ignored")),
                "encoding_format": one_of("Numbers, or base64 of their bytes", "float", "base64"),
                "dimensions": ref("Dimensions"),
                "embed_dtype": one_of(
                    "The type of the vectors' numbers; int8 comes with a `scale` per item, binary "
                    "is one bit per dimension",
                    *("float32", "float16", "int8", "binary"),
                ),
                "truncate": flag("Cut texts that are too long; else they are errors", default=True),
                "truncate_prompt_tokens": either(
                    "Cut at this many tokens; -1: at the model's maximum",
                    {"const": -1},
                    whole(**cut),
                    NULL,
                ),
                "truncation_side": one_of("Where texts are cut", "right", "left"),
                "priority": either(
                    "`bulk`, or a number above 0, yields to other requests",
                    {"enum": ["interactive", "bulk"]},
                    whole(minimum=-LARGEST, maximum=LARGEST),
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
        "Model": thing(model, "id", "object"),
        "Models": thing(
            {"object": {"const": "list"}, "data": many(ref("Model"))},
            *("object", "data"),
        ),
        "OpenAIError": thing({"error": thing(about_error, *about_error)}, "error"),
    }
