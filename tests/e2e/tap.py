"""A tap on the wire: what a client sent and what it was told, without changing a byte between them.

Clients keep to themselves which batches were accepted. The tap hands every byte on as it comes, keeps a copy, and reads
the copies afterwards: each HTTP/1.1 request with the response that followed it on that connection.
"""

import gzip
import json
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit


@dataclass
class Exchange:
    """A request, and the status it got: `None` when the connection ended without one."""

    token: str
    ids: list
    status: int | None
    began: float


class Tap:
    """Listens on a port of its own and passes everything on to `upstream`, `http://host:port`."""

    def __init__(self, upstream):
        to = urlsplit(upstream)
        self.upstream = (to.hostname, to.port)
        self.wires = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return  # Closed.
            try:
                self.wires.append(Wire(client, socket.create_connection(self.upstream)))
            except OSError:
                client.close()

    def close(self):
        self.listener.close()
        for wire in self.wires:
            wire.close()

    def exchanges(self):
        return [exchange for wire in list(self.wires) for exchange in wire.exchanges()]

    def ledger(self):
        """`told`, `refused` and `unanswered`: how often each id was in a batch that ended so."""
        told, refused, unanswered = Counter(), Counter(), Counter()
        for exchange in self.exchanges():
            book = unanswered if exchange.status is None else told if exchange.status == 200 else refused
            book.update(exchange.ids)
        return told, refused, unanswered


class Wire:
    """One connection: two pumps, each keeping what it moved."""

    def __init__(self, client, server):
        self.sent, self.received = bytearray(), bytearray()
        self.arrivals = []  # (offset in `sent`, when)
        self.sockets = (client, server)
        threading.Thread(target=self._pump, args=(client, server, self.sent), daemon=True).start()
        threading.Thread(target=self._pump, args=(server, client, self.received), daemon=True).start()

    def _pump(self, source, sink, copy):
        try:
            while piece := source.recv(65536):
                if copy is self.sent:
                    self.arrivals.append((len(copy), time.monotonic()))
                copy += piece
                sink.sendall(piece)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        for each in self.sockets:
            each.close()

    def exchanges(self):
        responses = [head.split(b" ", 2)[1] for _, head, _ in messages(bytes(self.received), is_response=True)]
        for at, (offset, head, body) in enumerate(messages(bytes(self.sent), is_response=False)):
            status = int(responses[at]) if at < len(responses) else None
            began = max(when for start, when in self.arrivals if start <= offset)
            target = urlsplit(head.split(b" ", 2)[1].decode())
            token = parse_qs(target.query).get("token", [""])[0]
            yield Exchange(token, ids(head, body), status, began)


def ids(head, body):
    if b"content-encoding: gzip" in head.lower():
        body = gzip.decompress(body)
    return [json.loads(line)["id"] for line in body.split(b"\n") if line.strip()]


def messages(stream, is_response):
    """The whole messages of one direction: (offset, head, body). Interim responses (1xx) are left out."""
    at = 0
    while (end := stream.find(b"\r\n\r\n", at)) >= 0:
        head, start = stream[at:end], end + 4
        if is_response and head.split(b" ", 2)[1].startswith(b"1"):
            at = start
            continue
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            body, after = chunked(stream, start)
        else:
            after = start + int(fields.get(b"content-length", b"0"))
            body = stream[start:after]
        if body is None or after > len(stream):
            return  # The rest has not come.
        yield at, head, body
        at = after


def chunked(stream, at):
    body = b""
    while (end := stream.find(b"\r\n", at)) >= 0:
        size = int(stream[at:end].split(b";")[0], 16)
        at = end + 2 + size + 2
        if at > len(stream):
            break
        if size == 0:
            return body, at
        body += stream[end + 2 : end + 2 + size]
    return None, at
