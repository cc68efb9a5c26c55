"""Other embedding servers, each in an environment of its own, for comparison.

They serve the same weights from the same folder with the very same build of torch,
listen on loopback only and are started, measured and stopped by
``python -m benchmarks.peers``. What cannot be installed or started is reported, not hidden.
"""
