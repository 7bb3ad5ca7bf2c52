"""The JSON API: the requests of the control socket as resources, with the JSON of `pyflowctl -o json`."""
