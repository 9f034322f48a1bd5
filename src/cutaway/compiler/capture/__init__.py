"""1. Model -> one graph."""
