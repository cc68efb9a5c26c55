"""Whether the devices still work, and what happens when one does not."""
