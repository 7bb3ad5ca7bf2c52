"""Requests of `http` tasks and hooks: addresses, hops, answers. Runs in the thread pool."""
