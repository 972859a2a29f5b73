"""What is written to disk: the run folder, the bundle, its card, and where they came from."""
