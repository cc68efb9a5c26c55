"""The queue before the device: what waits, in which order, and which batch is next. Pure."""
