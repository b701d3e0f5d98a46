"""Static files as a browser asks for them."""

import re

import brotli
import httpx
import pytest

from tests.server import ROOT


@pytest.fixture
def style(server):
    """The address of a stylesheet."""
    return re.search(r'"(/static/css/base\.[^"]+)"', server.visitor().get("/login/").text)[1]


def ask(server, verb, url, **headers):
    return httpx.request(verb, server.url + url, headers=headers, timeout=60)


def test_a_file_is_told_to_be_kept_for_ever_and_nothing_that_is_only_for_pages(server, style):
    answer = ask(server, "GET", style)
    assert answer.text.startswith("@layer reset {")
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Type"].startswith("text/css")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    told = {name.lower() for name in answer.headers}
    assert told <= set(
        "cache-control content-type content-length date vary x-content-type-options"
        " content-encoding connection".split()
    )


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_a_file_comes_compressed_as_the_browser_can_read_it(server, style, coding):
    plain = ask(server, "GET", style, **{"Accept-Encoding": "identity"}).content
    with httpx.stream("GET", server.url + style, headers={"Accept-Encoding": coding}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["Content-Encoding"] == coding
    assert len(raw) < len(plain) / 2
    if coding == "br":
        assert brotli.decompress(raw) == plain


def test_a_head_has_no_body_a_part_is_a_part_and_nothing_is_posted(server, style):
    whole = ask(server, "GET", style, **{"Accept-Encoding": "identity"})
    head = ask(server, "HEAD", style, **{"Accept-Encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.content))
    part = ask(server, "GET", style, **{"Accept-Encoding": "identity", "Range": "bytes=0-5"})
    assert (part.status_code, part.content) == (206, whole.content[:6])
    assert ask(server, "POST", style).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        *("/static/css/", "/static/nowhere.css", "/static/staticfiles.json/"),
        f"/static/{'a' * 300}.css",
        f"/static/{'a/' * 3_000}a.css",
    ],
    ids=lambda path: path[:30],
)
def test_what_is_no_file_is_a_page_that_says_so(server, path):
    told = len(server.log)
    answer = ask(server, "GET", path)
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert "Traceback" not in server.log[told:]


@pytest.mark.parametrize("name", ["css/chat.css", "js/chat.js", "js/rest.js"])
def test_what_a_page_needs_is_one_file_of_all_that_it_names(server, owner, name):
    page = owner.get("/").text
    stem, suffix = name.split(".")
    address = re.search(rf'"(/static/{stem}\.[0-9a-f]+\.{suffix})"', page)[1]
    served = ask(server, "GET", address).text
    listed = (ROOT / "static" / name).read_text()
    parts = re.findall(r'^(?:@import url|import )\(?"(?:\./)?([^"]+)"', listed, re.M)
    assert len(parts) > 1
    at = [served.index((ROOT / f"static/{suffix}" / part).read_text().strip()) for part in parts]
    assert at == sorted(at)
    assert "import" not in re.sub(r"^//.*|importNode", "", served, flags=re.M)
    assert not set(parts) & {found.rsplit("/")[-1] for found in re.findall(r"/static/[^\"]+", page)}


def test_every_script_and_stylesheet_is_asked_for_by_something():
    written = [path.read_text() for path in (ROOT / "templates").rglob("*.html")]
    written += [(ROOT / "static" / name).read_text() for name in ("css/chat.css", "js/chat.js")]
    written.append((ROOT / "static/js/rest.js").read_text())
    names = {path.name for kind in ("css", "js") for path in (ROOT / "static" / kind).iterdir()}
    assert {name for name in names if not any(name in text for text in written)} == set()
