"""The network: one door through which every request goes, with the offline switch, patience per host, and errors in words."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import os
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from ldznet_bench.acquisition.failures import Broken, MirrorFailure, OfflineError, Stopped

OFFLINE_VARIABLE = "LDZNET_BENCH_OFFLINE"
USER_AGENT = "ldznet-bench/0.1 (dataset downloader)"
_MAX_REDIRECTS = 10


LEFT_ALONE = "not asked"
"""How the reason begins when a host was left alone; it may answer a little later."""
_NO_NAME = "the host's name is not known (is this machine online?)"
_REFUSED = "connection refused"
# The most telling cause first: urllib3 counts a refused connection among the time-outs.
_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((urllib3.exceptions.NameResolutionError,), _NO_NAME),
    ((urllib3.exceptions.ProxyError, requests.exceptions.ProxyError), "the proxy failed: {}"),
    ((ConnectionRefusedError,), _REFUSED),
    ((urllib3.exceptions.ReadTimeoutError, requests.ReadTimeout), "no answer in time"),
    ((TimeoutError, requests.ConnectTimeout), "no connection in time"),
    ((ConnectionError, urllib3.exceptions.IncompleteRead, urllib3.exceptions.ProtocolError), "the connection was cut"),
)


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient we are.

    Attributes:
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next byte.
        retries: attempts without progress before a mirror is given up.
        backoff: seconds before the second attempt, doubled for each further one.
        max_wait: the longest ``Retry-After`` that is honoured, in seconds; a longer one gives the mirror up.
        slow_seconds: a mirror is given up when in this many seconds…
        slow_bytes: …fewer than this many bytes arrive.
        host_connections: at most this many requests at once to one host.
        host_failures: after this many failed connections in a row, a host is left alone…
        host_rest: …for this many seconds: a dead host costs thousands of images no time, a short outage costs none of them.
    """

    connect_timeout: float = 15
    read_timeout: float = 45
    retries: int = 5
    backoff: float = 1.0
    max_wait: float = 120
    slow_seconds: float = 60
    slow_bytes: int = 60_000
    host_connections: int = 8
    host_failures: int = 8
    host_rest: float = 20


@dataclass(slots=True)
class _Host:
    """What is known of one host."""

    slots: threading.Semaphore
    not_before: float = 0.0
    failures: int = 0
    failed_at: float = 0.0
    last_reason: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def is_offline(option: bool = False) -> bool:
    """``--offline``, or ``LDZNET_BENCH_OFFLINE`` set to anything but 0, no, false or nothing."""
    return option or os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "no", "false", "off")


class Network:
    """Makes requests.

    Proxies, ``.netrc`` and ``REQUESTS_CA_BUNDLE`` are honoured, as requests does. Certificates are always checked.

    Args:
        policy: patience.
        offline: refuse every request before a socket is made.
    """

    def __init__(self, policy: Policy | None = None, offline: bool = False) -> None:
        self.policy = policy or Policy()
        self.offline = offline
        self.stop = threading.Event()
        self._local = threading.local()
        self._hosts: dict[str, _Host] = {}
        self._open: set[requests.Response] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None, auth: AuthBase | None = None) -> Iterator[requests.Response]:
        """A streamed answer to GET, after redirects; the host's slot is held until the block ends.

        Raises:
            OfflineError: the network is switched off.
            Broken: a connection failed and may work when tried again.
            MirrorFailure: it will not work when tried again (certificate, redirect loop, host given up).
        """
        if self.offline:
            raise OfflineError(
                f"{url} is needed and the network is switched off (--offline or {OFFLINE_VARIABLE}).",
                "Run `ldznet-bench download` once with the network, or give files fetched by hand with --from.",
            )
        host = self._host(url)
        with host.slots:
            self._wait_for(host)
            response = self._request(host, url, headers or {}, auth)
            with self._lock:
                self._open.add(response)
            try:
                self.check()  # what is opened while `halt` goes through the others is not among them
                yield response
            finally:
                with self._lock:
                    self._open.discard(response)
                response.close()

    def halt(self) -> None:
        """End the command: nobody waits any longer, not even for a server that says nothing."""
        self.stop.set()
        with self._lock:
            waiting = list(self._open)
        for response in waiting:
            with contextlib.suppress(ValueError, OSError, RuntimeError, AttributeError):  # it ended a moment ago
                response.raw.shutdown()

    def pause(self, url: str, seconds: float) -> None:
        """Leave a host alone for some time: every thread waits (``Retry-After``)."""
        host = self._host(url)
        with host.lock:
            host.not_before = max(host.not_before, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, unless the command is being ended.

        Raises:
            Stopped: it is.
        """
        if self.stop.wait(seconds):
            raise Stopped

    def check(self) -> None:
        """Raise `Stopped` when the command is being ended."""
        if self.stop.is_set():
            raise Stopped

    def _request(self, host: _Host, url: str, headers: Mapping[str, str], auth: AuthBase | None) -> requests.Response:
        self.check()
        if host.failures >= self.policy.host_failures and time.monotonic() - host.failed_at < self.policy.host_rest:
            raise MirrorFailure(f"{LEFT_ALONE} after {host.failures} failed connections: {host.last_reason}")
        try:
            response = self._session().get(
                url,
                headers=dict(headers),
                auth=auth,
                stream=True,
                timeout=(self.policy.connect_timeout, self.policy.read_timeout),
            )
        except requests.TooManyRedirects as error:
            raise MirrorFailure(f"redirects without end (stopped after {_MAX_REDIRECTS})") from error
        except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, requests.exceptions.MissingSchema) as error:
            raise MirrorFailure(f"leads to an address that is no http(s): {error}") from error
        except requests.exceptions.SSLError as error:
            raise MirrorFailure(certificate_reason(error)) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            reason = connection_reason(error)
            with host.lock:
                host.failures += 1
                host.failed_at = time.monotonic()
                host.last_reason = reason
            raise Broken(reason, hardly=reason in (_NO_NAME, _REFUSED)) from error
        with host.lock:
            host.failures = 0
        return response

    def _wait_for(self, host: _Host) -> None:
        while (left := host.not_before - time.monotonic()) > 0:
            self.sleep(left)

    def _host(self, url: str) -> _Host:
        name = urlsplit(url).netloc.lower()
        with self._lock:
            if name not in self._hosts:
                self._hosts[name] = _Host(threading.Semaphore(self.policy.host_connections))
            return self._hosts[name]

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.max_redirects = _MAX_REDIRECTS
            # identity: a re-encoded body has another length than the file, and cannot be resumed.
            session.headers.update({"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(pool_connections=16, pool_maxsize=4, max_retries=0))
            self._local.session = session
        return session


def certificate_reason(error: BaseException) -> str:
    """What is wrong with a certificate, in one line."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            hint = " (is this machine's clock right?)" if "expired" in cause.verify_message or "not yet valid" in cause.verify_message else ""
            return f"its certificate is not to be trusted: {cause.verify_message}{hint}"
    return f"no secure connection: {_last_line(error)}"


def connection_reason(error: BaseException) -> str:
    """Why a connection failed, in one line."""
    causes = list(_causes(error))
    for kinds, reason in _REASONS:
        found = next((cause for cause in causes if isinstance(cause, kinds)), None)
        if found is not None:
            return reason.format(_last_line(found))
    return _last_line(causes[-1])


def retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, which states seconds or a date; None where it states neither."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return max(0.0, (when - datetime.datetime.now(datetime.UTC)).total_seconds())


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and everything it was made from: requests keeps the cause in `args`, urllib3 in `reason`."""
    queue, seen = [error], set()
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        near = (*current.args, getattr(current, "reason", None), current.__cause__, current.__context__)
        queue.extend(cause for cause in near if isinstance(cause, BaseException))


def _last_line(error: BaseException) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[-1][:200]
