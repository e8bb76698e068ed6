"""The checks of the soak: messages and files that are broken, kills, and load."""
