"""Expressions and templates: from text to a value, total and bounded. Pure."""
