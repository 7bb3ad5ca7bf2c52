"""Kinds of task that others bring: found, described, checked."""
