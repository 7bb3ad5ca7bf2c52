"""Events that start runs: files, other workflows, units, hooks."""
