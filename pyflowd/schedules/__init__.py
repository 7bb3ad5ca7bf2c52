"""Which slot comes next: cron laid on time zones, calendars. Pure but for reading calendar files."""
