"""Requests of the protocol: who may, what is done, what is answered."""
