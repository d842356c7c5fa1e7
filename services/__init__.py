"""The daemons of a TRON payments node, and what they share."""
