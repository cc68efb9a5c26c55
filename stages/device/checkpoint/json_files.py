"""Reading a checkpoint's JSON files, with errors that name them."""

import json
from pathlib import Path
from typing import Any

from stages.device.errors import ModelError


def read_json(file: Path) -> Any:
    """What ``file`` holds; ModelError where it is missing or not JSON."""
    try:
        return json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{file.parent} has no {file.name}") from None
    except ValueError as error:
        raise ModelError(f"{file} is not JSON: {error}") from error


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in ``file``; ModelError where there is none."""
    value = read_json(file)
    if not isinstance(value, dict):
        raise ModelError(f"{file} does not hold a JSON object")
    return value
