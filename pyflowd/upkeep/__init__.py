"""Looking after an instance: copies of its store, checks of it, checks of the host."""
