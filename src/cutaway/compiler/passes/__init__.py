"""3. Pieces rewritten."""
