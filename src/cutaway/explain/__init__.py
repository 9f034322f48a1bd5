"""Which part is at fault, and why: the ladder, bisection inside of a part, constraints, patterns, caches."""
