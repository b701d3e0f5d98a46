"""The browser's watch sees what the tests that lean on it believe it sees."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.server import Client, Server

PAGES = {
    "/calm/": "<p>calm</p>",
    "/loud/": "<script src=/loud.js></script>",
    "/loud.js": "console.error('a complaint')",
    "/throws/": "<script src=/throws.js></script>",
    "/throws.js": "throw new Error('thrown')",
    "/inline/": "<p style='color: red'>against the policy</p>",
    "/abroad/": "<script src=https://cdn.example/htmx.js></script>",
    "/missing/": "<img src=/nowhere.png>",
    "/favicon.ico": "",
}


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = PAGES.get(self.path, "").encode()
        self.send_response(200 if self.path in PAGES else 404)
        kind = "text/javascript" if self.path.endswith(".js") else "text/html"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        policy = "default-src 'self' https://cdn.example; img-src 'self' data:"
        self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A session at a site that isn't ours."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        Thread(target=site.serve_forever, daemon=True).start()
        server = Server(tmp_path_factory.mktemp("site"))
        server.url = f"http://127.0.0.1:{site.server_port}"
        yield server.visitor()
        server.close()
        site.shutdown()


def test_a_calm_page_is_not_complained_about(open_page, visitor, complaints):
    assert open_page(visitor).goto("/calm/").ok
    assert complaints[0].found == []


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/loud/", "a complaint"),
        ("/throws/", "uncaught: .*thrown"),
        ("/inline/", "Content Security Policy"),
        ("/abroad/", "a request to https://cdn.example"),
        ("/missing/", "status of 404"),
    ],
)
def test_a_complaint_fails_the_test_that_does_not_allow_it(
    open_page, visitor, complaints, path, complaint
):
    open_page(visitor).goto(path)
    watch = complaints[0]
    assert watch.unexpected
    watch.allow(complaint)
    watch.allow("ERR_NAME_NOT_RESOLVED")
    assert watch.unexpected == []


def test_the_language_is_the_pages(open_page, visitor):
    page = open_page(visitor, locale="ru")
    page.goto("/calm/")
    assert page.evaluate("navigator.language") == "ru"
