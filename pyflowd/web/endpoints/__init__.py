"""What answers a route: asks the daemon, hands the replies to `pages`. Knows no HTML."""
