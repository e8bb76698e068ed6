"""Command lines: replay and evaluation of recorded bags, the sample bag, the demo."""
