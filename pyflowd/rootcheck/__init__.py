"""The keeper's own look at what root has written: keeper.yaml, and definitions with tasks of root's."""
