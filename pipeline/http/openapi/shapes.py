"""Small JSON Schema shapes, of which the document is made."""

from typing import Any, TypeAlias

Shape: TypeAlias = dict[str, Any]

NULL = {"type": "null"}


def text(about: str = "", /, **more: object) -> Shape:
    """A string."""
    return _about({"type": "string", **more}, about)


def whole(about: str = "", /, **more: object) -> Shape:
    """A whole number."""
    return _about({"type": "integer", **more}, about)


def number(about: str = "", /, **more: object) -> Shape:
    """A number."""
    return _about({"type": "number", **more}, about)


def flag(about: str, *, default: bool) -> Shape:
    """True or false."""
    return {"type": ["boolean", "null"], "default": default, "description": about}


def one_of(about: str, *words: str) -> Shape:
    """One of some words, of which the first is the default."""
    return {"enum": [*words, None], "default": words[0], "description": about}


def many(items: Shape, about: str = "", /, **more: object) -> Shape:
    """An array."""
    return _about({"type": "array", "items": items, **more}, about)


def maybe(shape: Shape) -> Shape:
    """``shape`` or null."""
    return {**shape, "type": [shape["type"], "null"]}


def thing(members: Shape, *needed: str, about: str = "") -> Shape:
    """An object."""
    shape: Shape = {"type": "object", "properties": members}
    if needed:
        shape["required"] = list(needed)
    return _about(shape, about)


def either(about: str, *shapes: Shape) -> Shape:
    """Any of several shapes."""
    return {"anyOf": list(shapes), "description": about}


def ref(name: str) -> Shape:
    """A shape of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _about(shape: Shape, about: str) -> Shape:
    return {**shape, "description": about} if about else shape
