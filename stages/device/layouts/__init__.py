"""How a batch lies on the device: packed into one row, or padded to a length."""
