"""What a run does next: joins, items, sections, places, retries. Pure: no I/O, no clock."""
