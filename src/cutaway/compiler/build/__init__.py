"""4. Piece -> artifact."""
