"""The HTTP face: health, readiness, liveness and metrics, on Hypercorn's Trio worker."""
