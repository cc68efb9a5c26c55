"""Calls of TEI's gRPC clients, and what came of them."""

import numpy as np

TEXTS = ["a penstock feeds a turbine", "water", "ünïcode 水 🌊!", "the river " * 40]
TOLERANCE = 2e-6


def embed(text, **options):
    return {"inputs": text, **options}


def answered(result):
    assert (result["code"], result["details"]) == ("OK", "")
    return result["answers"]


def assert_alike(one, other, rows, column):
    """The first answers of two calls are the same, up to what company in a batch makes."""
    found, expected = (
        np.array([row[column] for row in answered(result)[0][rows]]) for result in (one, other)
    )
    assert np.abs(found - expected).max() <= TOLERANCE * 4
