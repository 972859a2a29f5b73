"""What a frozen network makes of an image, computed once; and the head that is solved on it."""
