"""TRON on paper: addresses, messages, hashes and signatures, without any I/O."""
