"""Wires the stages together and faces the world."""
