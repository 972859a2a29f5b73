"""Tables become torch modules, and find their weights."""
