"""Pixels on disk become arrays: sources, split, decoding, preprocessing, augmentation, loading."""
