"""From views of the protocol to what a template draws: words, times, geometry. Pure: knows no daemon and no HTML."""
