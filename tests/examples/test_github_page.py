"""The page and the API show what the store knows, and let nothing of it act."""

from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from examples.github.digest import Highlight
from examples.github.events import Check
from examples.github.records import DigestRecord, HealthRecord, Link, ThreadNote, ThreadRecord
from tests.examples.github_support import NOW, Service, service

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture
async def github(tmp_path: Path) -> AsyncIterator[Service]:
    """The receiver on an empty store."""
    async with service(tmp_path) as running:
        yield running


def fill(github: Service, text: str, url: str | None) -> None:
    """Put `text` wherever the store takes a text from outside, and `url` wherever a link."""
    store = github.store
    check = Check(name=text, conclusion="failure", url=url)
    digest = DigestRecord(
        id="run-1",
        key=text,
        first_at=NOW,
        last_at=NOW,
        deliveries=1,
        reason="timeout",
        headline=text,
        lines=(text,),
        highlights=(Highlight(what=text, title=text, url=url),),
    )
    store.save_digest(digest, ["d-1"], [check])
    thread = ThreadRecord(
        id=text,
        repository=text,
        number=7,
        kind="issue",
        title=text,
        url=url,
        state=text,
        opened_at=NOW,
        active_at=NOW,
    )
    store.save_thread(thread, ThreadNote(id="r", thread=text, what="ended", text=text, at=NOW))
    stale = (Link(title=text, url=url),)
    health = HealthRecord(status="failing", since=NOW, failing=(check,), stale=stale)
    store.save_health(text, health)


class Reader(HTMLParser):
    """Collects the page's elements and links, and checks that elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that it closes what was opened last."""
        assert self._open.pop() == tag


async def test_the_page_escapes_whatever_comes_from_outside(github: Service) -> None:
    fill(github, EVIL, "https://github.com/x?a=1&b='\"><script>")
    page = Reader((await github.client.get("/")).text)
    assert page.tags.isdisjoint({"script", "img"})
    assert page.attributes.isdisjoint({"onerror", "style"})


async def test_the_page_links_to_web_addresses_only(github: Service) -> None:
    fill(github, "text", "javascript:alert(1)")
    assert Reader((await github.client.get("/")).text).links == []
    fill(github, "text", "https://github.com/octocat/hello/issues/7")
    links = Reader((await github.client.get("/")).text).links
    assert set(links) == {"https://github.com/octocat/hello/issues/7"}


async def test_the_page_needs_nothing_from_elsewhere_and_allows_no_scripts(github: Service) -> None:
    response = await github.client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    page = Reader(response.text)
    assert page.links == []
    assert response.text.count("Nothing yet.") == 4


async def test_the_api_gives_what_the_page_shows(github: Service) -> None:
    fill(github, "octocat/hello", None)
    digests = (await github.client.get("/api/digests")).json()["digests"]
    assert [digest["headline"] for digest in digests] == ["octocat/hello"]
    health = (await github.client.get("/api/health")).json()["repositories"]
    assert health["octocat/hello"]["status"] == "failing"
    threads = (await github.client.get("/api/threads")).json()
    assert [thread["number"] for thread in threads["threads"]] == [7]
    assert [note["what"] for note in threads["notes"]] == ["ended"]


async def test_the_service_says_that_it_is_well(github: Service) -> None:
    response = await github.client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
