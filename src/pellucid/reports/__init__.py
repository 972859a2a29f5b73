"""Records become text, pictures and pages. Reads records, computes nothing."""
