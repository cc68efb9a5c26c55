"""What benchmarks share: processes of their own, rounds in turn, and results."""
