"""What every daemon is made of: sockets, credentials, errors, money, storage, logs and events."""
