"""By what values and code are known in another process: digests that are equal only where the things are.

Cache keys are made of them, and the identities of passes and of implementations of operators.
"""
