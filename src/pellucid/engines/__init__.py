"""A model file becomes something that maps pixels to logits fast."""
