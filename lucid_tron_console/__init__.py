"""The console of a TRON payments node, and its command-line twin."""
