"""What one request may hold, and texts checked against it."""

from collections.abc import Sequence

from attrs import frozen

from stages.errors import InvalidInput, NoItems, TooLarge


@frozen
class InputLimits:
    """What one request may hold.

    ``max_item_bytes`` counts a text in UTF-8, and 4 bytes for each id of an item.
    ``vocabulary`` is the number of ids the model knows: 0 ... vocabulary - 1.
    """

    max_items: int
    max_item_bytes: int
    vocabulary: int

    def check_count(self, items: int, field: str) -> None:
        """Raise NoItems or TooLarge for a number of items that is not allowed."""
        if items < 1:
            raise NoItems(f"{field}: no items; at least 1 is needed", field=field)
        if items > self.max_items:
            raise TooLarge(
                f"{field}: {items} items; at most {self.max_items} are allowed in a call"
            )

    def check_item(self, size: int, item: int, field: str) -> None:
        """Raise TooLarge for an item of more bytes than allowed."""
        if size > self.max_item_bytes:
            raise TooLarge(
                f"{field}: item {item} has {size} bytes; at most {self.max_item_bytes} are allowed"
            )

    def unknown_id(self, item: int, field: str) -> InvalidInput:
        """The error of an item with an id that the model does not know."""
        return InvalidInput(
            f"{field}: item {item} has an id outside the vocabulary 0 ... {self.vocabulary - 1}",
            field=field,
            item=item,
        )


def check_texts(texts: Sequence[str], limits: InputLimits, field: str = "texts") -> tuple[str, ...]:
    """The texts, if there are any, not too many and none too long.

    Raises:
        NoItems: there are none.
        TooLarge: too many texts, or one above ``max_item_bytes``.
    """
    limits.check_count(len(texts), field)
    for index, text in enumerate(texts):
        # No UTF-8 character has more than 4 bytes: most texts need not be encoded.
        if 4 * len(text) > limits.max_item_bytes:
            limits.check_item(len(text.encode()), index, field)
    return tuple(texts)
