"""The workflows folder: watched, read in a child process, put in force."""
