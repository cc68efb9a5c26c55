"""What a checkpoint says, and holds: its recipe, its limits, its weights."""
