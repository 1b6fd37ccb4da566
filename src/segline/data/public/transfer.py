"""One file over HTTP, the right one or a sentence: resumed where it stopped, asked for again while that helps, and verified before it gets its name.

What has come lies beside its place as `<name>.part`, and `<name>.part.json` says of which address and which version of the file it is a part. It is gone on
with (Range) when the server says that the file is still the same (If-Range with the ETag or the date), or when a checksum will tell in the end; else it starts
anew.
requests sends and reads; no kept library of Python's resumes a file (pooch, parfive and torch.hub begin anew).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from segline.errors import DataError
from segline.files import write_json
from segline.progress import progress

if TYPE_CHECKING:
    import requests

MB = 10**6
_BLOCK = 1 << 16
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be other ones in a while."""

_MOST_REDIRECTS = 10


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for. Times in seconds."""

    attempts: int = 6  # in a row that bring nothing
    first_wait: float = 1.0  # after the first of them; doubled each time
    longest_wait: float = 60.0  # also where the server names a time
    connect: float = 20.0
    silence: float = 60.0  # without `worthwhile` bytes
    worthwhile: int = 1 << 14  # bytes; an attempt that brings fewer has brought nothing


@dataclass(frozen=True)
class _Origin:
    """What a part is a part of."""

    address: str
    etag: str | None  # a strong one
    modified: str | None

    @property
    def validator(self) -> str | None:
        return self.etag or self.modified


class _PassingError(Exception):
    """Asking again may help. `wait`: seconds that the server asks for."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _FinalError(Exception):
    """Asking this address again does not help."""


def transfer(
    addresses: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    patience: Patience | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Fetch `target` from the first of `addresses` that gives it. `checksum` is `sha256:…` or `md5:…`.

    Raises DataError, with what each address said. What has come by then is kept, for the next call to go on with.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    said = []
    for address in addresses:
        one = _Transfer(address, target, size, checksum, patience or Patience(), sleep)
        try:
            one.run()
        except _FinalError as error:
            said.append(f"{address}: {error}")
        else:
            return
    raise DataError(
        f"{target.name} could not be fetched: {'; '.join(said)}. Run the same command again later (it goes on where it stopped), set data.mirror to another "
        f"address or to a folder that has the file, or put it into {target.parent} yourself."
    )


def wrong(file: Path, size: int | None, checksum: str | None) -> str | None:
    """Why a file is not the published one, as the end of a sentence; None where it is, as far as is known."""
    there = file.stat().st_size
    if size is not None and there != size:
        return f"it has {there} bytes, and the published one {size}"
    if checksum is not None:
        algorithm, _, expected = checksum.partition(":")
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
        if found != expected:
            return f"its {algorithm} is {found}, and that of the published one {expected}"
    return None


def origin_file(target: Path) -> Path:
    """Where the origin of a file is written down that was fetched; what somebody has put there by hand has none."""
    return target.with_name(f"{target.name}.json")


def part_origin(target: Path) -> Path:
    """As `origin_file`, of the part that has come so far."""
    return target.with_name(f"{target.name}.part.json")


class _Transfer:
    """One file from one address."""

    def __init__(self, address: str, target: Path, size: int | None, checksum: str | None, patience: Patience, sleep: Callable[[float], object]) -> None:
        self._address, self._target, self._size, self._checksum = address, target, size, checksum
        self._patience, self._sleep = patience, sleep
        self._part = target.with_name(f"{target.name}.part")
        self._told: Callable[[int], None] | None = None
        self._shown = 0  # megabytes

    def run(self) -> None:
        """Raises _FinalError."""
        import requests

        with ExitStack() as opened:
            session = opened.enter_context(requests.Session())
            session.max_redirects = _MOST_REDIRECTS
            session.headers["Accept-Encoding"] = "identity"  # the file as it is
            self._opened = opened
            self._persist(session)
            reason = wrong(self._part, self._size, self._checksum)
            if reason is not None:
                self._discard()  # damaged on its way, or made of two versions: once more, from the beginning
                self._persist(session)
                reason = wrong(self._part, self._size, self._checksum)
            if reason is not None:
                self._discard()
                raise _FinalError(f"what it gives is not the published file, twice: {reason}")
        write_json(origin_file(self._target), {"address": self._address})  # before the file has its name: without it, it would be somebody's own
        self._part.replace(self._target)
        part_origin(self._target).unlink(missing_ok=True)

    def _persist(self, session: requests.Session) -> None:
        """Ask until the part is the whole file."""
        failures, furthest = 0, self._have()
        while True:
            try:
                self._ask(session)
                return
            except _PassingError as error:
                gained = self._have() - furthest
                furthest = max(furthest, self._have())
                failures = 1 if gained >= self._patience.worthwhile else failures + 1
                if failures >= self._patience.attempts:
                    raise _FinalError(f"{error}, and so {failures} times in a row") from None
                pause = self._patience.first_wait * 2 ** (failures - 1)
                self._sleep(min(max(pause, error.wait), self._patience.longest_wait))

    def _ask(self, session: requests.Session) -> None:
        """One request and its answer. Raises _PassingError, _FinalError."""
        import requests

        origin, have = self._resumable()
        headers = {}
        if have:
            headers["Range"] = f"bytes={have}-"
            if origin is not None and origin.address == self._address and origin.validator:
                headers["If-Range"] = origin.validator
        try:
            response = session.get(self._address, headers=headers, stream=True, timeout=(self._patience.connect, self._patience.silence))
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _PassingError(_why(error)) from None
        except (requests.RequestException, ValueError) as error:
            raise _FinalError(_why(error)) from None
        with response:
            if response.status_code == 416 and have:
                self._nothing_left(response.headers, have)
                return
            self._accept(response)
            if response.status_code == 206:
                total = self._going_on(response.headers, origin, have)
            else:
                total = self._beginning(response.headers)
                have = 0
            self._room(total, have)
            self._receive(response, have, total)

    def _accept(self, response: requests.Response) -> None:
        """Raises _PassingError or _FinalError for an answer that is not the file."""
        code = response.status_code
        if code in _PASSING:
            raise _PassingError(f"the server answers {code} {response.reason}", _seconds(response.headers.get("Retry-After")))
        if code not in (200, 206):
            raise _FinalError(f"the server answers {code} {response.reason}")
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding not in ("", "identity") and not self._target.name.endswith(("gz", "z")):  # of those, some servers call the file itself an encoding
            raise _FinalError(f"the server sends the file encoded ({encoding[:20]}), though it was asked not to")
        if response.headers.get("Content-Type", "").startswith("text/html") and self._target.suffix not in (".html", ".htm"):
            raise _FinalError("the server answers with a page and not with the file; it may have moved, or needs a login")

    def _nothing_left(self, headers: Mapping[str, str], have: int) -> None:
        """The server has no bytes behind those that are there: they are all, or too many."""
        total = re.fullmatch(r"bytes \*/(\d+)", headers.get("Content-Range", ""))
        if total is None or int(total[1]) != have:
            self._discard()
            raise _PassingError("the server has another file than the one that was begun")

    def _going_on(self, headers: Mapping[str, str], origin: _Origin | None, have: int) -> int | None:
        """Bytes of the whole file. Raises _PassingError, with the part discarded, where what comes does not continue it."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", "").strip())
        if found is None or int(found[1]) != have or not have:
            self._discard()
            raise _PassingError("the server sends other bytes than it was asked for")
        etag = _strong(headers.get("ETag"))
        if origin is not None and origin.address == self._address and origin.etag and etag and origin.etag != etag:
            self._discard()
            raise _PassingError("the server has another version of the file than the one that was begun")
        return self._as_published(None if found[3] == "*" else int(found[3]))

    def _beginning(self, headers: Mapping[str, str]) -> int | None:
        """Bytes of the whole file. The part is begun anew."""
        length = headers.get("Content-Length", "")
        ends = headers.get("Transfer-Encoding", "").lower() == "chunked"
        total = self._as_published(int(length) if length.isdecimal() else None, ends=ends)
        self._discard()
        write_json(part_origin(self._target), asdict(_Origin(self._address, _strong(headers.get("ETag")), headers.get("Last-Modified"))))
        return total

    def _as_published(self, total: int | None, *, ends: bool = False) -> int | None:
        """`ends`: the answer itself says where it ends. Raises _FinalError where it cannot be the published file, or nothing would tell whether it is whole."""
        if total is not None and self._size is not None and total != self._size:
            self._discard()
            raise _FinalError(f"the server has a file of {total} bytes, and the published one has {self._size}")
        if total is None and self._size is None and self._checksum is None and not ends:
            raise _FinalError("the server does not say how long the file is, and no size or checksum is published: nobody could tell whether it came whole")
        return total if total is not None else self._size

    def _room(self, total: int | None, have: int) -> None:
        free = shutil.disk_usage(self._target.parent).free
        if total is not None and total - have > free:
            raise DataError(
                f"{self._target.name} needs {(total - have) / MB:.0f} MB more, and the disk of {self._target.parent} has {free / MB:.0f} MB free. "
                "Make room there and run the same command again."
            )

    def _receive(self, response: requests.Response, have: int, total: int | None) -> None:
        """Append the body to the part. Raises _PassingError where it ends early or stops coming."""
        from urllib3.exceptions import HTTPError, IncompleteRead, ReadTimeoutError

        self._tell(have, total)
        since, counted = time.monotonic(), have
        try:
            with self._part.open("ab") as part:
                while block := response.raw.read1(_BLOCK, decode_content=False):
                    part.write(block)
                    have += len(block)
                    self._tell(have, total)
                    now = time.monotonic()
                    if now - since > self._patience.silence:
                        if have - counted < self._patience.worthwhile:
                            raise _PassingError(f"hardly anything came for {self._patience.silence:g} s")
                        since, counted = now, have
                part.flush()
                os.fsync(part.fileno())
        except (ReadTimeoutError, TimeoutError):
            raise _PassingError(f"nothing came for {self._patience.silence:g} s") from None
        except (HTTPError, ConnectionError) as error:
            early = isinstance(error, IncompleteRead) or isinstance(error.__cause__, http.client.IncompleteRead)
            raise _PassingError(_early(have, total) if early else _why(error)) from None
        if total is not None and have < total:
            raise _PassingError(_early(have, total))
        if total is not None and have > total:
            self._discard()
            raise _PassingError(f"the server sent more than the {total} bytes that it had named")

    def _tell(self, have: int, total: int | None) -> None:
        if self._told is None:
            self._told = self._opened.enter_context(progress(f"fetching {self._target.name} (MB)", max(1, (total or have) // MB)))
        done = have // MB
        if done > self._shown:
            self._told(done - self._shown)
            self._shown = done

    def _resumable(self) -> tuple[_Origin | None, int]:
        """What is there, and how many bytes of it can be gone on with; what cannot is removed."""
        have = self._have()
        origin = _read_origin(part_origin(self._target))
        same = origin is not None and origin.address == self._address and origin.validator is not None
        if have and not same and self._checksum is None:
            self._discard()
            return None, 0
        return origin, have

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        part_origin(self._target).unlink(missing_ok=True)


def _read_origin(file: Path) -> _Origin | None:
    try:
        return _Origin(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # none, or damaged: then nothing is known of the part


def _early(have: int, total: int | None) -> str:
    return f"the connection ended after {have} bytes" + ("" if total is None else f" of {total}")


def _strong(etag: str | None) -> str | None:
    """An ETag that stands for the very bytes; a weak one does not."""
    return etag if etag and etag.startswith('"') else None


def _seconds(retry_after: str | None) -> float:
    """What a server says by Retry-After: seconds, or a date."""
    if not retry_after:
        return 0.0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _why(error: BaseException) -> str:
    """The innermost reason of an error, without the addresses of objects that libraries put in."""
    seen = {id(error)}
    while (inner := getattr(error, "reason", None) or error.__context__ or next((a for a in error.args if isinstance(a, BaseException)), None)) is not None:
        if not isinstance(inner, BaseException) or id(inner) in seen:
            break
        seen.add(id(inner))
        error = inner
    text = re.sub(r"<[^>]*>:?\s*|\w*Connection\w*\([^)]*\):\s*", "", str(error)).strip().rstrip(".")
    return f"the connection failed ({text[:160] or type(error).__name__})"
