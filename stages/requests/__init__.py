"""A request: what it asks for, its life, and its one outcome."""
