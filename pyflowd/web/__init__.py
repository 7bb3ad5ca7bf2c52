"""The web front, `pyflow-web`: a process of its own without rights, one more client of the control socket.

A request goes one way: `routes` names its endpoint and what it needs, `guard` turns away what does not belong here, an
endpoint asks the daemon by `link`, a pure function of `pages` makes of the answer what is shown, a template draws it.
Nothing here opens the store, and no file but those whose descriptors the daemon hands over.
"""
