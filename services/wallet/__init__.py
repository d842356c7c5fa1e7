"""Keys and the signer; it has no network."""
