"""Messages to people: channels, the spool, delivery."""
