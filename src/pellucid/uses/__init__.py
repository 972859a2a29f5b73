"""What a model file is for: predicting and evaluating. Nothing here knows how it was trained."""
