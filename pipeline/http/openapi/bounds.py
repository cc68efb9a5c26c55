"""The limits in force, as the document states them."""

from attrs import frozen

from pipeline.http.openapi.shapes import Shape, either, many, text, whole
from pipeline.interface.status import ModelInfo, RequestLimits


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


def texts_shapes(bounds: Bounds, **more: object) -> tuple[Shape, Shape]:
    """A text, or several."""
    return (
        text("A text", **more),
        many(text(**more), "Texts", minItems=1, maxItems=bounds.max_items),
    )


def ids_shapes(bounds: Bounds) -> tuple[Shape, Shape]:
    """The token ids of an item, or of several."""
    known = whole(minimum=0, maximum=bounds.vocabulary - 1)
    ids = many(known, "The token ids of an item", minItems=1)
    return ids, many(ids, "The token ids of several items", minItems=1, maxItems=bounds.max_items)


def items_shape(bounds: Bounds, about: str, **more: object) -> Shape:
    """Texts or ids, one or many."""
    return either(about, *texts_shapes(bounds, **more), *ids_shapes(bounds))
