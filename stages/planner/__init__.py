"""The queue before the device: what waits, in which order, and what runs next. Pure."""
