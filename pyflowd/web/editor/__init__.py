"""The text of a definition while somebody writes it: what is wrong with it, its graph, words of help, small edits.

A text that is typed is nobody's word yet, and may be hostile: it is read in a process of its own, within limits
(`checker`, `reader`). Nothing here knows of pages, nor of the daemon.
"""
