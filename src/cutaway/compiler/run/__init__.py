"""7. Replay."""
