"""A TRON node in one process that speaks TRON's HTTP API and verifies for real."""
