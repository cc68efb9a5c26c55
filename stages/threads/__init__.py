"""The threads that do the heavy work, and the protocols by which stages hand it over."""
