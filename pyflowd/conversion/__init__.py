"""From crontabs and timer units to workflow files, and back. Pure."""
