"""Ping-pong from a Redis stream with nothing but Python's standard library.

The destination writes JSON (`encoding: json`). An entry is acknowledged when it is handled; what a process that
was killed held is claimed by the next one.
"""

import json
import os
import signal
import socket
import sys
import urllib.parse
import urllib.request

STREAM, GROUP = "gateway:stream:all", "ping-pong-python"
CLAIM_IDLE_MS = 30_000


class Redis:
    """As much of Redis' protocol as a consumer of streams needs."""

    def __init__(self, url):
        parsed = urllib.parse.urlparse(url if "://" in url else "redis://" + url)
        self._socket = socket.create_connection((parsed.hostname, parsed.port or 6379))
        self._file = self._socket.makefile("rb")
        if parsed.password:
            self.call("AUTH", parsed.username or "default", parsed.password)

    def call(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def _reply(self):
        line = self._file.readline()
        if not line:
            raise ConnectionError("Redis has closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"+":
            return rest
        length = int(rest)
        if length < 0:
            return None
        if kind == b"$":
            return self._file.read(length + 2)[:-2]
        return [self._reply() for _ in range(length)]


def pong(message):
    """Answers by Discord's REST API."""
    token = os.environ["DISCORD_TOKEN"].removeprefix("Bot ")
    request = urllib.request.Request(
        f"{os.environ['DISCORD_API']}/v10/channels/{message['channel_id']}/messages",
        data=json.dumps({"content": "pong by python"}).encode(),
        headers={"authorization": f"Bot {token}", "content-type": "application/json"},
    )
    urllib.request.urlopen(request).close()
    print("pong by python", flush=True)


def handle(entry):
    entry_id, fields = entry
    if fields is not None:  # else it was trimmed after it had been delivered
        values = dict(zip(fields[::2], fields[1::2]))
        if values[b"t"] == b"MESSAGE_CREATE":
            message = json.loads(values[b"d"])
            if message["content"] == "ping" and not message["author"].get("bot"):
                pong(message)
    redis.call("XACK", STREAM, GROUP, entry_id)


redis = Redis(os.environ.get("REDIS_URL", "127.0.0.1:6379"))
name = f"{socket.gethostname()}-{os.getpid()}"
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: sys.exit(0))
try:
    redis.call("XGROUP", "CREATE", STREAM, GROUP, "$", "MKSTREAM")
except RuntimeError as error:
    if not str(error).startswith("BUSYGROUP"):
        raise
print("ready", flush=True)
while True:
    _, left, *_ = redis.call("XAUTOCLAIM", STREAM, GROUP, name, CLAIM_IDLE_MS, "0", "COUNT", 100)
    for entry in left:
        handle(entry)
    answer = redis.call(
        "XREADGROUP", "GROUP", GROUP, name, "COUNT", 100, "BLOCK", 5000, "STREAMS", STREAM, ">"
    )
    for _, entries in answer or []:
        for entry in entries:
            handle(entry)
