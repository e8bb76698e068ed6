"""Public data sets in their folder forms, turned into bags."""
