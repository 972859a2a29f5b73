"""What a bundle is for: predicting and evaluating. Nothing here knows how it was trained."""
