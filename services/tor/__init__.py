"""The Tor daemon, steered and watched: circuits, rotation, onion services."""
