"""A config and images become a run folder."""
