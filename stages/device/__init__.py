"""What runs inside the device thread: model, packed attention, pooling.

In the order of a batch: ``checkpoint`` is what was loaded, ``layouts`` are how texts lie on the
device, ``cpu`` and ``cuda`` what computes them there, ``outputs`` what becomes of the vectors.

Importing this package or :mod:`stages.device.checkpoint.recipe`, :mod:`~stages.device.spec`,
:mod:`~stages.device.checkpoint.fingerprint` or :mod:`~stages.device.null_engine` imports neither
torch nor transformers, so a server can set thread counts in the environment first.
"""
