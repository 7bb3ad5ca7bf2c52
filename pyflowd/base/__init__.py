"""What several parts stand on and none owns: threads, timers, graphs, zones, who asks."""
