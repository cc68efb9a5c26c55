"""Virtual time: what happens when, and the same for the same seed."""
