"""Programs that run in the process of a task: the standard library and themselves only, no daemon in sight.

`output`, `out` and `function` may be run by another interpreter than the daemon's: they keep to Python 3.8.
"""
