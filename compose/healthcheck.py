#!/usr/bin/env python3
"""Ask a daemon whether it is ready: exit code 0 if it is; `healthcheck /run/lucid/tron/tron.sock` or `host:port`."""

import socket
import sys

TIMEOUT_S = 9
"""Below the ten seconds that compose.yaml allows."""


def main(where: str) -> int:
    """Send one request and look at the status line; prints what is wrong."""
    path = "/health/ready"
    try:
        if "/" in where:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(TIMEOUT_S)
            connection.connect(where)
        else:
            host, _, port = where.rpartition(":")
            path = "/wallet/getnowblock"
            connection = socket.create_connection((host, int(port)), TIMEOUT_S)
        with connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = connection.recv(4096)
    except OSError as error:
        print(f"{where}: {error}")  # noqa: T201 - compose keeps it in the health log
        return 1
    line = answer.split(b"\r\n", 1)[0].decode("latin-1")
    if line.split(" ")[1:2] == ["200"]:
        return 0
    print(f"{where}: {line or 'no answer'}")  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
