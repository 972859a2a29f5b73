"""Whose weights can be loaded: what each source calls our tensors, and how it keeps them."""
