"""What is written to disk: the run folder, the model file, its card, and where they came from."""
