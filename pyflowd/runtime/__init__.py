"""Live runs: what the loop does with what the engine decides."""
