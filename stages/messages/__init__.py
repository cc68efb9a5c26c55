"""The channels between stages, and the values that cross them.

All are frozen. What crosses is a *chunk*, never an item: the part of one request
that goes one way together, as numpy arrays. Token ids stay what they were on the
wire, int32 and unpadded (:mod:`stages.data.ragged_ids`); the single copy is the one into
the device's input (``stages.device``).
"""
