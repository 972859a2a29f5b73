"""Networks as tables of plain data, and the readers that count and name them. No torch in this room."""
