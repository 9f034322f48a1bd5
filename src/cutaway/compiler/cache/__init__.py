"""5. Artifacts -> disk."""
