"""Other libraries' networks: what flows in them at our end points, and how long they take."""
