"""Length-prefixed messages over a socket."""

from __future__ import annotations

import socket
import struct

LENGTH = struct.Struct("<Q")


def send(channel: socket.socket, payload: bytes) -> None:
    """Send one message; it blocks until all is sent."""
    channel.sendall(LENGTH.pack(len(payload)))
    channel.sendall(payload)


def receive(channel: socket.socket) -> bytes:
    """Receive one message, waiting for it; empty when the other side has hung up."""
    header = _exactly(channel, LENGTH.size)
    return _exactly(channel, LENGTH.unpack(header)[0]) if header else b""


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        part = channel.recv(min(size, 2**20))
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
