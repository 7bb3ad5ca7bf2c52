"""The control protocol: requests, views, and the frames that carry them. Types only."""
