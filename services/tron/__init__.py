"""The one way to the chain: reads, cache, and the exactly-once sender."""
