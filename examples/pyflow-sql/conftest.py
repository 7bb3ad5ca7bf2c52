"""Makes the module of this folder importable for its tests."""
