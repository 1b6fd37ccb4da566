"""A server of one file on 127.0.0.1, in a thread of the test: it answers each request as its script says, and well when the script is over."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

ETAG = '"one"'

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Knows the files of its server, and what it was asked."""

    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked.append({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}})
            answer = self.server.script.pop(0) if self.server.script else served
        with suppress(ConnectionError):
            answer(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nobody looks."""

    def content(self) -> bytes | None:
        return self.server.files.get(self.path.rpartition("/")[2])

    def start(self, code: int, headers: dict[str, object]) -> None:
        self.send_response(code)
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()

    def cut(self) -> None:
        """End the connection, whatever was promised."""
        self.close_connection = True


class FileServer(ThreadingHTTPServer):
    """`files` by name; `script`: the answers to come; `asked`: the requests that came."""

    daemon_threads = True
    block_on_close = True
    allow_reuse_address = True
    address_family: ClassVar[int] = 2

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.script: list[Answer] = []
        self.asked: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no error."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    server = FileServer(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()  # for those that stall
        server.shutdown()
        thread.join()
        server.server_close()


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


# answers ------------------------------------------------------------------------------------------------------------------------------------------------


def _range(handler: Handler) -> int:
    """Where the answer begins, by Range and If-Range."""
    asked = handler.headers.get("Range")
    if asked is None or handler.headers.get("If-Range", ETAG) != ETAG:
        return 0
    return int(asked.removeprefix("bytes=").rstrip("-"))


def _begin(handler: Handler, content: bytes, start: int, **headers: object) -> None:
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler.start(206 if start else 200, {"Content-Length": len(content) - start, "ETag": ETAG, "Accept-Ranges": "bytes", **headers})


def served(handler: Handler) -> None:
    """As it should be."""
    content = handler.content()
    if content is None:
        handler.start(404, {"Content-Length": 0})
        return
    start = _range(handler)
    if start >= len(content):
        handler.start(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": 0})
        return
    _begin(handler, content, start)
    handler.wfile.write(content[start:])


def dropped(number: int) -> Answer:
    """The connection ends after so many bytes."""

    def answer(handler: Handler) -> None:
        content, start = handler.content() or b"", _range(handler)
        _begin(handler, content, start)
        handler.wfile.write(content[start : start + number])
        handler.cut()

    return answer


def stalled(number: int) -> Answer:
    """Nothing comes after so many bytes, and the connection stays."""

    def answer(handler: Handler) -> None:
        content, start = handler.content() or b"", _range(handler)
        _begin(handler, content, start)
        handler.wfile.write(content[start : start + number])
        handler.wfile.flush()
        handler.server.over.wait(20)
        handler.cut()

    return answer


def dripping(pause: float) -> Answer:
    """A byte now and then."""

    def answer(handler: Handler) -> None:
        content = handler.content() or b""
        _begin(handler, content, 0)
        for i in range(len(content)):
            if handler.server.over.wait(pause):
                break
            handler.wfile.write(content[i : i + 1])
            handler.wfile.flush()
        handler.cut()

    return answer


def status(code: int, **headers: object) -> Answer:
    def answer(handler: Handler) -> None:
        handler.start(code, {"Content-Length": 0, **{key.replace("_", "-"): value for key, value in headers.items()}})

    return answer


def from_the_start(handler: Handler) -> None:
    """Range is ignored."""
    content = handler.content() or b""
    _begin(handler, content, 0)
    handler.wfile.write(content)


def truncated(number: int) -> Answer:
    """The file is shorter, and the server says so."""

    def answer(handler: Handler) -> None:
        content = (handler.content() or b"")[:number]
        _begin(handler, content, 0)
        handler.wfile.write(content)

    return answer


def corrupted(place: int) -> Answer:
    """One byte is another one."""

    def answer(handler: Handler) -> None:
        content, start = bytearray(handler.content() or b""), _range(handler)
        content[place] ^= 0x55
        _begin(handler, bytes(content), start)
        handler.wfile.write(content[start:])

    return answer


def beside_the_range(handler: Handler) -> None:
    """206, but of other bytes than were asked for."""
    content, start = handler.content() or b"", max(1, _range(handler) - 3)
    _begin(handler, content, start)
    handler.wfile.write(content[start:])


def of_another_version(content: bytes) -> Answer:
    """Another file under the same name, by a server that does not look at If-Range."""

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        _begin(handler, content, start, ETag='"two"')
        handler.wfile.write(content[start:])

    return answer


def page(handler: Handler) -> None:
    text = b"<html>log in</html>"
    handler.start(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": len(text)})
    handler.wfile.write(text)


def encoded(handler: Handler) -> None:
    content = handler.content() or b""
    _begin(handler, content, 0, **{"Content-Encoding": "br"})
    handler.wfile.write(content)


def of_no_length(handler: Handler) -> None:
    """The connection's end is the file's end."""
    content = handler.content() or b""
    handler.start(200, {"Connection": "close"})
    handler.wfile.write(content)
    handler.cut()


def chunked(*, whole: bool) -> Answer:
    """In chunks, of which the last one may be missing."""

    def answer(handler: Handler) -> None:
        content = handler.content() or b""
        handler.start(200, {"Transfer-Encoding": "chunked"})
        half = len(content) // 2
        for part in (content[:half], content[half:]) if whole else (content[:half],):
            handler.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.cut()

    return answer
