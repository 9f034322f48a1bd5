"""2. Graph -> pieces."""
