"""Records made readable: terminal text, figures, report.html. Nothing is measured here."""
