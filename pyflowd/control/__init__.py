"""The way in: socket, peers, command lines."""
