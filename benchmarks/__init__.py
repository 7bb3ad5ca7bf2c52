"""One file per question; each prints one line per figure, as a ratio against something measured in the same run."""
