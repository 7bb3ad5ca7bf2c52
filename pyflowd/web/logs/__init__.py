"""Logs of attempts, read from the descriptors that the daemon hands over: any size, never whole. Knows no HTML."""
