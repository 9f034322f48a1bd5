"""The page: its data, and the server that gives them to it; no torch."""
