"""What runs inside the device thread: model, packed attention, pooling.

Importing this package or :mod:`stages.device.recipe`, :mod:`~stages.device.spec`,
:mod:`~stages.device.fingerprint` or :mod:`~stages.device.null_engine` imports neither
torch nor transformers, so a server can set thread counts in the environment first.
"""
