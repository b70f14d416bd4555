"""Every way a mirror misbehaves ends in the right file or in the right message, never in a wrong file."""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Callable

import pytest
from acquiring import DATA, IMPATIENT, SHA, document, spec_of
from mirror import (
    CAPTIVE_PAGE,
    LOGIN_PAGE,
    PLAIN_PAGE,
    QUOTA_PAGE,
    Mirror,
    always,
    announce,
    chunked_cut,
    cut_after,
    drip,
    honest,
    lying_range,
    page,
    redirect,
    status,
    whole_for_range,
    without_length,
    wrong_content,
    wrong_range,
)

from ldznet_bench.acquisition.fetch import Fetcher, Refusal
from ldznet_bench.acquisition.ledger import Arrival
from ldznet_bench.acquisition.specs import FileSpec

Make = Callable[..., Fetcher]


def got(fetcher: Fetcher, spec: FileSpec) -> bytes:
    result = fetcher.get(fetcher.job(spec))
    assert isinstance(result, Arrival), result
    return (fetcher.folder / spec.path).read_bytes()


def refused(fetcher: Fetcher, spec: FileSpec) -> str:
    """The reason of the last mirror; nothing may be in the file's place."""
    result = fetcher.get(fetcher.job(spec))
    assert isinstance(result, Refusal), result
    assert not (fetcher.folder / spec.path).exists()
    return result.reasons[-1][1]


def test_an_honest_mirror(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA), sha256=SHA, size=len(DATA))
    assert got(fetcher_of(spec), spec) == DATA
    assert server.sent("/a") == len(DATA)


def test_a_file_that_is_here_is_not_fetched_again(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA))
    got(fetcher_of(spec), spec)
    got(fetcher_of(spec), spec)
    assert len(server.asked) == 1


def test_a_file_damaged_since_is_fetched_again(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA))
    fetcher = fetcher_of(spec)
    got(fetcher, spec)
    (fetcher.folder / "a.json").write_bytes(DATA[:100])
    assert got(fetcher_of(spec), spec) == DATA


@pytest.mark.parametrize("seed", range(5))
def test_connections_cut_at_random_bytes_lose_nothing(server: Mirror, fetcher_of: Make, seed: int) -> None:
    numbers = random.Random(seed)
    cuts = [cut_after(numbers.randrange(5_000, 90_000)) for _ in range(6)]
    spec = spec_of("a.json", server.add("/a", DATA, *cuts), sha256=SHA)
    assert got(fetcher_of(spec), spec) == DATA
    # What the server had written when it cut may not have reached us; everything that did is never asked for again.
    starts = [int(asked.range.removeprefix("bytes=").rstrip("-")) for asked in server.asked if asked.range]
    assert starts == sorted(starts)
    assert len(starts) >= 2


def test_connections_cut_at_once_end_in_a_message(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, *always(cut_after(0))))
    assert "cut" in refused(fetcher_of(spec), spec)


def test_a_mirror_without_ranges_that_cuts_starts_again(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, cut_after(100_000), cut_after(50_000), ranges=False), sha256=SHA)
    assert got(fetcher_of(spec), spec) == DATA


def test_a_slow_drip_is_given_up(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, *always(drip(60, 0.02))))
    assert "bytes in" in refused(fetcher_of(spec), spec)


def test_a_drip_leaves_the_next_mirror_its_turn(server: Mirror, fetcher_of: Make) -> None:
    slow = server.add("/slow", DATA, *always(drip(2000, 0.01)))
    spec = spec_of("a.json", slow, server.add("/fast", DATA))
    assert got(fetcher_of(spec), spec) == DATA


def test_too_large_a_length(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, *always(announce(len(DATA) + 50)), etag=None, ranges=False))
    assert "cut" in refused(fetcher_of(spec), spec)


def test_too_small_a_length_is_seen_by_structure(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, *always(announce(len(DATA) - 50))))
    assert "cut off" in refused(fetcher_of(spec), spec)


def test_a_length_other_than_the_cards_is_refused_before_the_bytes_come(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", document(2_000_000)), size=len(DATA))
    assert "where the card says" in refused(fetcher_of(spec), spec)
    assert server.sent("/a") < 1_500_000


def test_no_length_at_all(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, without_length), sha256=SHA)
    assert got(fetcher_of(spec), spec) == DATA


def test_chunked_encoding_that_breaks_off(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, chunked_cut(1000)))
    assert got(fetcher_of(spec), spec) == DATA


def test_a_range_answered_with_everything(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, cut_after(100_000), whole_for_range))
    assert got(fetcher_of(spec), spec) == DATA


@pytest.mark.parametrize("shift", [-5000, 5000, 1])
def test_a_wrong_range(server: Mirror, fetcher_of: Make, shift: int) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, cut_after(100_000), *always(wrong_range(shift), 1)))
    assert got(fetcher_of(spec), spec) == DATA


def test_a_range_answer_that_states_no_range(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, cut_after(100_000), lying_range))
    assert got(fetcher_of(spec), spec) == DATA


def test_a_file_that_changes_between_two_ranges_is_not_mixed(server: Mirror, fetcher_of: Make) -> None:
    new = document(seed=1)[: len(DATA) - 1] + b"]"

    def change(handler, served):
        served.content = new
        honest(handler, served)

    spec = spec_of("a.json", server.add("/a", DATA, cut_after(100_000), change))
    assert got(fetcher_of(spec), spec) == new


def test_429_with_retry_after_is_waited_for(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, status(429, Retry_After="1")))
    assert got(fetcher_of(spec), spec) == DATA


def test_429_that_asks_for_an_hour_is_a_reason(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, *always(status(429, Retry_After="3600"))))
    assert refused(fetcher_of(spec), spec) == "HTTP 429: asks to come back in 3600 s"
    assert len(server.asked) == 1


def test_a_storm_of_5xx_passes(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, status(500), status(503), status(502)))
    assert got(fetcher_of(spec), spec) == DATA


def test_an_endless_storm_of_5xx_is_a_reason(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, *always(status(503))))
    assert "HTTP 503" in refused(fetcher_of(spec), spec)
    assert len(server.asked) == IMPATIENT.retries + 1


def test_redirects_are_followed(server: Mirror, fetcher_of: Make) -> None:
    server.add("/b", b"", redirect("/c"))
    server.add("/c", DATA)
    spec = spec_of("a.json", server.add("/a", b"", redirect("/b")))
    assert got(fetcher_of(spec), spec) == DATA


def test_a_redirect_loop(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", b"", *always(redirect("/a"))))
    assert "redirects without end" in refused(fetcher_of(spec), spec)


def test_a_redirect_out_of_http(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", b"", *always(redirect("file:///etc/passwd"))))
    assert "no http" in refused(fetcher_of(spec), spec)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(QUOTA_PAGE, "quota"), (CAPTIVE_PAGE, "captive portal"), (LOGIN_PAGE, "login"), (PLAIN_PAGE, "Index of /data")],
)
@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream"])
def test_web_pages_are_recognised_by_content(server: Mirror, fetcher_of: Make, body: bytes, reason: str, kind: str) -> None:
    spec = spec_of("a.json", server.add("/a", b"", *always(page(body, kind=kind))))
    assert reason in refused(fetcher_of(spec), spec)


def test_a_web_page_of_the_right_size(server: Mirror, fetcher_of: Make) -> None:
    body = QUOTA_PAGE + b" " * (len(DATA) - len(QUOTA_PAGE))
    spec = spec_of("a.json", server.add("/a", b"", *always(page(body))), size=len(DATA))
    assert "quota" in refused(fetcher_of(spec), spec)


def test_a_page_with_status_403(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", b"", *always(page(LOGIN_PAGE, 403))))
    assert "403" in (reason := refused(fetcher_of(spec), spec))
    assert "login" in reason


def test_wrong_content_of_the_right_size(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA, *always(wrong_content)), size=len(DATA), sha256=SHA)
    assert "sha256" in refused(fetcher_of(spec), spec)


def test_wrong_content_leaves_the_next_mirror_its_turn(server: Mirror, fetcher_of: Make) -> None:
    bad = server.add("/bad", DATA, *always(wrong_content))
    spec = spec_of("a.json", bad, server.add("/good", DATA), size=len(DATA), sha256=SHA)
    fetcher = fetcher_of(spec)
    assert got(fetcher, spec) == DATA
    assert "sha256" in fetcher.watcher.texts[0]


def test_another_format_under_the_right_name(server: Mirror, fetcher_of: Make) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("x", "y")
    spec = spec_of("a.json", server.add("/a", packed.getvalue()))
    assert refused(fetcher_of(spec), spec) == "sends a zip archive instead of json"


def test_a_truncated_zip_of_unknown_size(server: Mirror, fetcher_of: Make) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("x", DATA)
    spec = spec_of("a.zip", server.add("/a", packed.getvalue()[:-30]))
    assert "zip is cut off" in refused(fetcher_of(spec), spec)


def test_every_reason_is_kept_in_order(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.base + "/gone", server.add("/page", b"", *always(page(QUOTA_PAGE))), "http://127.0.0.1:9/refused")
    result = (fetcher := fetcher_of(spec)).get(fetcher.job(spec))
    assert isinstance(result, Refusal)
    reasons = [reason for _, reason in result.reasons]
    assert "404" in reasons[0]
    assert "quota" in reasons[1]
    assert "refused" in reasons[2]


@pytest.mark.parametrize(("name", "reason"), [("expired", "expired"), ("elsewhere", "not valid for"), ("good", "unable to get local issuer")])
def test_certificates(certificates: dict, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch, name: str, reason: str) -> None:
    if name != "good":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates["authority"][0]))
    with Mirror(certificates[name]) as server:
        spec = spec_of("a.json", server.add("/a", DATA))
        told = refused(fetcher_of(spec), spec)
    assert "certificate is not to be trusted" in told
    assert reason in told


def test_a_good_certificate_of_a_known_authority(certificates: dict, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates["authority"][0]))
    with Mirror(certificates["good"]) as server:
        spec = spec_of("a.json", server.add("/a", DATA))
        assert got(fetcher_of(spec), spec) == DATA


def test_a_redirect_from_https_to_http_needs_a_checksum(
    certificates: dict, server: Mirror, fetcher_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates["authority"][0]))
    plain = server.add("/plain", DATA)
    with Mirror(certificates["good"]) as secure:
        address = secure.add("/a", b"", *always(redirect(plain)))
        unknown, known = spec_of("a.json", address), spec_of("a.json", address, sha256=SHA)
        assert "from https to http" in refused(fetcher_of(unknown), unknown)
        assert got(fetcher_of(known), known) == DATA


def test_content_first_seen_is_pinned(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA))
    fetcher = fetcher_of(spec)
    got(fetcher, spec)
    (fetcher.folder / "a.json").unlink()
    server.add("/a", document(seed=2))
    assert "first seen" in refused(fetcher_of(spec), spec)


def test_a_stated_checksum_overrides_the_pin(server: Mirror, fetcher_of: Make) -> None:
    new = document(seed=2)
    spec = spec_of("a.json", server.add("/a", DATA))
    fetcher = fetcher_of(spec)
    got(fetcher, spec)
    server.add("/a", new)
    stated = spec_of("a.json", server.base + "/a", sha256=hashlib.sha256(new).hexdigest())
    assert got(fetcher_of(stated), stated) == new


def test_offline_makes_no_request(server: Mirror, fetcher_of: Make) -> None:
    spec = spec_of("a.json", server.add("/a", DATA))
    assert "switched off" in refused(fetcher_of(spec, offline=True), spec)
    assert not server.asked


def test_a_compressed_answer_is_unpacked(server: Mirror, fetcher_of: Make) -> None:
    import gzip

    packed = gzip.compress(DATA)
    spec = spec_of("a.json", server.add("/a", packed, headers={"Content-Encoding": "gzip"}), sha256=SHA)
    assert got(fetcher_of(spec), spec) == DATA
