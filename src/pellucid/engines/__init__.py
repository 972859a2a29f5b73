"""A bundle becomes something that maps pixels to logits fast."""
