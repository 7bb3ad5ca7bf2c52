"""The workflow file: documents, keys and readers, what is wrong with it and where. Pure."""
