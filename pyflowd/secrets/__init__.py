"""Secrets: providers, the encrypted store, the resolver."""
