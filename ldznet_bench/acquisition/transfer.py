"""One mirror, one file: ask, judge the answer, take the bytes, go on where it broke off."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import urllib3.exceptions

from ldznet_bench.acquisition.content import HEAD_BYTES, describe, is_html, looks_like
from ldznet_bench.acquisition.failures import Broken, MirrorFailure
from ldznet_bench.acquisition.network import Network, connection_reason, retry_after
from ldznet_bench.acquisition.pages import PAGE_BYTES, explain_page
from ldznet_bench.acquisition.part import Origin, Part
from ldznet_bench.acquisition.sources import Source
from ldznet_bench.acquisition.specs import Kind, format_size

_READ_BYTES = 1 << 18
_MAX_ATTEMPTS = 200
_PROGRESS_BYTES = 1 << 12
_CONFIRMATIONS = 3
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")

Advance = Callable[[int, int | None], None]
"""Called with the bytes that have arrived so far and the total, if known."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file must be.

    Attributes:
        kind: what its bytes must look like.
        size: bytes, where known.
        sha256: hex, where known.
    """

    kind: Kind
    size: int | None = None
    sha256: str | None = None


@dataclass(slots=True)
class _Answer:
    """An answer that has been judged to be the file.

    Attributes:
        response: the answer, its body not read beyond `head`.
        start: offset in the file of the first byte of the body.
        total: bytes of the whole file, if the host says.
        validator: ETag or Last-Modified.
        sha256: what the host states.
        head: bytes of the body that were read to judge it.
    """

    response: requests.Response
    start: int
    total: int | None
    validator: str | None
    sha256: str | None
    head: bytes


def transfer(network: Network, source: Source, expected: Expected, part: Part, advance: Advance) -> str | None:
    """Fetch a file into a part, from where the part is.

    Args:
        network: makes the requests.
        source: whom to ask.
        expected: what it must be; a wrong size is found before the bytes are taken, hash and structure are the caller's to check.
        part: takes the bytes.
        advance: is told about progress.

    Returns:
        The sha256 that the host states for the file, or None.

    Raises:
        MirrorFailure: the mirror does not have it, or did not manage in as many attempts as the policy allows.
    """
    _check_origin(source, expected, part)
    idle, ranges = 0, True
    for _attempt in range(_MAX_ATTEMPTS):
        before = part.offset
        try:
            with _ask(network, source, expected, part if ranges else None) as answer:
                _align(answer, source, part)
                _receive(network, answer, part, advance)
                return answer.sha256
        except _WrongRange:
            ranges = False
            idle += 1
            broken = Broken("answers a range request with another range")
        except Broken as error:
            broken = error
            # A mirror that cuts every connection still gets there as long as each one brings something.
            idle = 0 if part.offset >= before + _PROGRESS_BYTES else idle + 1
        if idle > _patience(network, broken):
            raise MirrorFailure(f"{broken.reason} (given up after {idle} attempts)")
        _wait(network, source, broken, idle)
    raise MirrorFailure(f"{broken.reason} (given up after {_MAX_ATTEMPTS} attempts)")


def fetch_page(network: Network, source: Source) -> tuple[bytes, str | None]:
    """A page or an answer of an interface, at most 16 times `PAGE_BYTES` of it, and the address of the next one, if it names one.

    Raises:
        MirrorFailure: as `transfer`.
    """
    idle = 0
    while True:
        try:
            with network.get(source.url, auth=source.auth) as response:
                _judge_status(network, response, source)
                return _read_up_to(network, response, 16 * PAGE_BYTES), response.links.get("next", {}).get("url")
        except Broken as broken:
            idle += 1
            if idle > _patience(network, broken):
                raise MirrorFailure(f"{broken.reason} (given up after {idle} attempts)") from broken
            _wait(network, source, broken, idle)


class _WrongRange(Exception):  # noqa: N818 - a signal within this file
    """Status 206 with bytes that were not asked for."""


def _check_origin(source: Source, expected: Expected, part: Part) -> None:
    """Bytes from another mirror are of use only where the hash of the whole will prove them."""
    if part.origin is not None and part.origin.source != source.name and expected.sha256 is None:
        part.restart()


@contextmanager
def _ask(network: Network, source: Source, expected: Expected, part: Part | None) -> Iterator[_Answer]:
    """Ask for the rest of a part (all of it for None), and follow confirmation pages, until a file answers."""
    offset = part.offset if part else 0
    headers = {}
    if part is not None and offset:
        headers["Range"] = f"bytes={offset}-"
        if part.origin is not None and part.origin.validator and part.origin.source == source.name:
            headers["If-Range"] = part.origin.validator
    for _ in range(_CONFIRMATIONS):
        with network.get(source.url, headers, source.auth) as response:
            _judge_status(network, response, source)
            _refuse_downgrade(response, expected)
            if response.status_code == 416:
                yield _judge_end(response, source, expected, offset)
                return
            answer = _judge(network, response, source, expected, part, offset)
            if isinstance(answer, _Answer):
                yield answer
                return
            source.url = answer
    raise MirrorFailure("confirmation pages without end")


def _judge_status(network: Network, response: requests.Response, source: Source) -> None:
    status = response.status_code
    if status in (200, 206, 416):
        return
    if status in (401, 403):
        page = _read_up_to(network, response, PAGE_BYTES)
        told = source.denied(response)
        raise MirrorFailure(f"{told} [{explain_page(page, source.url, response.url, response.headers)}]" if is_html(page) else told)
    if status in (404, 410):
        raise MirrorFailure(f"HTTP {status}: it is not there (any more)")
    if status in (408, 425, 429) or status >= 500:
        wait = retry_after(response.headers.get("Retry-After"))
        if wait is not None and wait > network.policy.max_wait:
            raise MirrorFailure(f"HTTP {status}: asks to come back in {wait:.0f} s")
        raise Broken(f"HTTP {status} {response.reason or ''}".strip(), wait)
    raise MirrorFailure(f"HTTP {status} {response.reason or ''}".strip())


def _refuse_downgrade(response: requests.Response, expected: Expected) -> None:
    hops = [answer.url for answer in (*response.history, response)]
    secure = [url.startswith("https:") for url in hops]
    if any(before and not after for before, after in itertools.pairwise(secure)) and expected.sha256 is None:
        raise MirrorFailure("redirects from https to http, and no checksum is known that would prove the file")


def _judge_end(response: requests.Response, source: Source, expected: Expected, offset: int) -> _Answer:
    """Status 416: nothing after what we have. Right if the file ends there."""
    match = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
    total = int(match[1]) if match else None
    if total != offset:
        raise _WrongRange
    _check_total(total, expected)
    return _Answer(response, offset, total, None, source.sha256_of(response), b"")


def _judge(network: Network, response: requests.Response, source: Source, expected: Expected, part: Part | None, offset: int) -> _Answer | str:
    """The answer if it is the file, or the address that a page leads on to."""
    validator = _validator(response)
    start, total, head = 0, _length(response), b""
    if response.status_code == 206:
        start, total = _judge_range(response, offset)
        if part is not None and part.origin is not None and _other_version(part.origin, source, validator, total):
            raise _WrongRange
    if start == 0:
        head = _read_up_to(network, response, HEAD_BYTES)
        if not looks_like(head, expected.kind):
            return _way_on(network, response, source, expected, head)
    _check_total(total, expected)
    return _Answer(response, start, total, validator, source.sha256_of(response), head)


def _way_on(network: Network, response: requests.Response, source: Source, expected: Expected, head: bytes) -> str:
    if not is_html(head):
        raise MirrorFailure(f"sends {describe(head)} instead of {expected.kind}")
    page = head + _read_up_to(network, response, PAGE_BYTES)
    onward = source.follow(page, response.url)
    if onward is None or onward == source.url:
        raise MirrorFailure(explain_page(page, source.url, response.url, response.headers))
    return onward


def _judge_range(response: requests.Response, offset: int) -> tuple[int, int | None]:
    match = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None:
        raise _WrongRange
    first, last, total = int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])
    length = _length(response)
    if first != offset or (length is not None and length != last - first + 1) or (total is not None and last + 1 != total):
        raise _WrongRange
    return first, total


def _other_version(origin: Origin, source: Source, validator: str | None, total: int | None) -> bool:
    """Whether a range belongs to another version of the file than the part, for hosts that do not honour If-Range."""
    if origin.total is not None and total is not None and origin.total != total:
        return True
    return origin.source == source.name and None not in (origin.validator, validator) and origin.validator != validator


def _check_total(total: int | None, expected: Expected) -> None:
    if total is not None and expected.size is not None and total != expected.size:
        raise MirrorFailure(f"offers {total:,} bytes ({format_size(total)}) where the card says {expected.size:,} ({format_size(expected.size)})")


def _align(answer: _Answer, source: Source, part: Part) -> None:
    """Make the part begin where the body begins: anew when the host ignored the range, or when nothing is there yet."""
    if answer.start != part.offset or part.origin is None or part.offset == 0:
        part.begin(Origin(source.name, answer.validator, answer.total))


def _receive(network: Network, answer: _Answer, part: Part, advance: Advance) -> None:
    """Take the body.

    Raises:
        Broken: the connection broke, or dripped.
    """
    part.write(answer.head)
    since, at_since = time.monotonic(), part.offset
    for data in _body(network, answer.response):
        part.write(data)
        advance(part.offset, answer.total)
        now = time.monotonic()
        if now - since >= network.policy.slow_seconds:
            if part.offset - at_since < network.policy.slow_bytes:
                raise Broken(f"only {part.offset - at_since} bytes in {now - since:.0f} s")
            since, at_since = now, part.offset
    if answer.total is not None and part.offset < answer.total:
        raise Broken("the connection was cut")
    if answer.total is not None and part.offset > answer.total:
        part.restart()
        raise Broken("sent more bytes than it announced")


def _body(network: Network, response: requests.Response) -> Iterator[bytes]:
    """Pieces of the body as they come. `read1` returns what is there: a drip is seen at once, not after a full buffer."""
    if response.status_code == 416:
        return
    decode = bool(response.headers.get("Content-Encoding"))
    while True:
        network.check()
        try:
            data = response.raw.read1(_READ_BYTES, decode_content=decode)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Broken(connection_reason(error)) from error
        if not data:
            return
        yield data


def _read_up_to(network: Network, response: requests.Response, limit: int) -> bytes:
    pieces, size, until = [], 0, time.monotonic() + network.policy.slow_seconds
    for data in _body(network, response):
        pieces.append(data)
        size += len(data)
        if size >= limit:
            break
        if time.monotonic() > until:
            raise Broken(f"only {size} bytes in {network.policy.slow_seconds:.0f} s")
    return b"".join(pieces)


def _length(response: requests.Response) -> int | None:
    """Bytes of the body as the file has them; None where the host does not say or has re-encoded it."""
    value = response.headers.get("Content-Length", "")
    return int(value) if value.isdigit() and not response.headers.get("Content-Encoding") else None


def _validator(response: requests.Response) -> str | None:
    """A strong ETag, else Last-Modified: what If-Range takes."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _patience(network: Network, broken: Broken) -> int:
    return min(1, network.policy.retries) if broken.hardly else network.policy.retries


def _wait(network: Network, source: Source, broken: Broken, idle: int) -> None:
    if broken.wait is not None:
        network.pause(source.url, broken.wait)
        network.sleep(0)
    else:
        network.sleep(network.policy.backoff * 2 ** min(idle, 6) / 2 if idle else 0)
