"""What is reported of the work: metrics, the stage trace, and where they go."""
