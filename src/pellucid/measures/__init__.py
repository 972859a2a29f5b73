"""Numbers with their doubt: what is measured of a classifier, each with its interval. numpy alone, no torch."""
