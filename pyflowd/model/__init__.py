"""The words of the domain, as types only: they import nothing of ours."""
