"""6. Plan and artifacts -> callable."""
