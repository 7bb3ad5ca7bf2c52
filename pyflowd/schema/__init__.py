"""The JSON Schema of workflow files and settings, made from the tables of the readers."""
