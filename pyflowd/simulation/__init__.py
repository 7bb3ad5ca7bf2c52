"""A virtual clock over all workflows."""
