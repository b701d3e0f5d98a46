"""Two layers against what a model writes, the sanitiser and the content security policy: each alone.

The payloads run by themselves, with nobody clicking. Where the sanitiser is said to be off, they stand
in the page as they are: put into what the server sends, behind its own headers. `hit(n)` is a script
that ran; `/hit?n` was asked for on this origin, by htmx, or on another one.
"""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.gateway import Gateway
from tests.server import Client

# Where the sanitiser would have done its work.
MARK = "PUTTHEMHERE"
SCRIPTS = """\
<script>hit({n})</script>
<svg><script>hit({n})</script></svg>
<script src="data:text/javascript,hit({n})"></script>
<script src="{other}/hit.js?{n}"></script>
<script type="module">hit({n})</script>
<img src="x:" onerror="hit({n})">
<svg onload="hit({n})"></svg>
<details open ontoggle="hit({n})"><summary>x</summary></details>
<video><source src="x:" onerror="hit({n})"></video>
<audio src="x:" onerror="hit({n})"></audio>
<style>@keyframes k {{}}</style><p style="animation: k 1s" onanimationstart="hit({n})">x</p>
<iframe srcdoc="<script>parent.hit({n})</script>"></iframe>
<iframe src="javascript:parent.hit({n})"></iframe>
<math><mtext><img src="x:" onerror="hit({n})"></mtext></math>
""".splitlines()
ABROAD = """\
<img src="{other}/hit?{n}">
<picture><source srcset="{other}/hit?{n}"><img></picture>
<svg width="9" height="9"><image href="{other}/hit?{n}" width="9" height="9"></image></svg>
<video poster="{other}/hit?{n}"></video>
<audio src="{other}/hit?{n}" preload="auto"></audio>
<input type="image" src="{other}/hit?{n}">
<table background="{other}/hit?{n}"><tr><td>x</td></tr></table>
<link rel="stylesheet" href="{other}/hit?{n}">
<style>@import url("{other}/hit?{n}");</style>
<p style="background: url('{other}/hit?{n}')">x</p>
<iframe src="{other}/hit?{n}"></iframe>
<object data="{other}/hit?{n}"></object>
<embed src="{other}/hit?{n}">
""".splitlines()
COMMANDS = """\
<p hx-get="/hit?{n}" hx-trigger="load">x</p>
<p data-hx-get="/hit?{n}" data-hx-trigger="load">x</p>
<p hx-post="/hit?{n}" hx-trigger="load">x</p>
<p hx-delete="/hit?{n}" hx-trigger="load delay:10ms">x</p>
<div hx-boost="true"><p hx-put="/hit?{n}" hx-trigger="load">x</p></div>
""".splitlines()
ALL = [*SCRIPTS, *COMMANDS, *ABROAD]
# What would change what all the others do: one ends the reply that it stands in, and is out of it, as
# nothing is that a sanitiser has written; the other leads every address elsewhere.
LAST = [
    '</p></div></article><img src="x:" onerror="hit({n})">',
    '<base href="{other}/"><img src="hit?{n}">',
]


@pytest.fixture
def other() -> Iterator[tuple[str, set[int]]]:
    """Another origin, which answers anything with a script; its address, and which payloads came."""
    came: set[int] = set()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            number = int(self.path.partition("?")[2] or -1)
            came.add(number)
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript")
            self.end_headers()
            self.wfile.write(b"hit(%d)" % number)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", came
    server.shutdown()
    server.server_close()


class Watch:
    """Which payloads did what they are for, in this page."""

    def __init__(self, page: Page, came: set[int]) -> None:
        self._page, self._came = page, came
        self._asked: set[int] = set()
        page.add_init_script("window.hits ??= []; window.hit = (n) => window.hits.push(n)")
        page.on("request", self._note)

    def _note(self, request: object) -> None:
        path = re.search(r":\d+/hit\?(\d+)", request.url)  # type: ignore[attr-defined]
        if path and request.url.startswith(self._page.url.partition("/c/")[0] + "/"):  # type: ignore[attr-defined]
            self._asked.add(int(path[1]))

    @property
    def hits(self) -> set[int]:
        return self._came | self._asked | set(self._page.evaluate("window.hits"))

    def rest(self) -> None:
        """Until whatever the page began has come to its end: an image of our own loads after it."""
        self._page.wait_for_load_state("load")
        self._page.wait_for_load_state("networkidle")
        self._page.evaluate(
            "new Promise((done) => {"
            " const last = new Image();"
            " last.onload = last.onerror = () => requestAnimationFrame(() => setTimeout(done));"
            # Whatever the page has been told to begin its addresses with.
            " const icon = document.querySelector('link[rel=icon]').getAttribute('href');"
            " last.src = location.origin + icon })"
        )


def filled(lines: list[str], address: str) -> list[str]:
    return [line.format(n=n, other=address) for n, line in enumerate(lines)]


def put_into_page(page: Page, html: str, *, lets_htmx: bool = False) -> None:
    """Have it stand where the mark does, behind the headers of the server."""

    def into_page(route: Route) -> None:
        response = route.fetch()
        body = response.text().replace(MARK, html)
        route.fulfill(
            response=response, body=body.replace(" hx-disable", "") if lets_htmx else body
        )

    page.route(re.compile(r"/c/[0-9a-f-]+/$"), into_page)


def put_into_frames(page: Page, html: str) -> None:
    def forward(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda text: socket.send(str(text).replace(MARK, json.dumps(html)[1:-1])))

    page.route_web_socket(re.compile("/ws/$"), forward)


@pytest.fixture
def answered(owner: Client, gateway: Gateway) -> str:
    gateway.reply(MARK)
    conversation = owner.send("Hurt me")
    owner.wait_for_reply(conversation)
    return conversation


@pytest.mark.parametrize("lines", [ALL, LAST], ids=["all", "last"])
def test_without_both_layers_each_payload_does_what_it_is_for(
    owner, answered, open_page, complaints, other, lines
):
    """What the other tests here stand on."""
    page = open_page(owner, bypass_csp=True)
    complaints[0].allow("")
    watch = Watch(page, other[1])
    put_into_page(page, "\n".join(filled(lines, other[0])), lets_htmx=True)
    page.goto(f"/c/{answered}/")
    for _ in range(20):
        watch.rest()
        if watch.hits == set(range(len(lines))):
            break
    missing = [lines[n] for n in range(len(lines)) if n not in watch.hits]
    assert missing == []


@pytest.mark.parametrize("lines", [ALL, LAST], ids=["all", "last"])
def test_with_the_sanitiser_off_the_policy_stops_every_payload(
    owner, answered, open_page, complaints, other, lines
):
    page = open_page(owner)
    complaints[0].allow("")
    watch = Watch(page, other[1])
    put_into_page(page, "\n".join(filled(lines, other[0])))
    page.goto(f"/c/{answered}/")
    watch.rest()
    assert page.locator("img, base").count() > 0  # they are there
    assert [lines[n] for n in watch.hits] == []


def test_with_the_sanitiser_off_the_policy_stops_what_comes_while_a_reply_streams(
    owner, gateway, open_page, complaints, other
):
    page = open_page(owner)
    complaints[0].allow("")
    watch = Watch(page, other[1])
    away = '<h1 id="title" hx-swap-oob="true">Taken over</h1><b id="composer" hx-preserve>x</b>'
    put_into_frames(page, "\n".join([*filled(ALL, other[0]), away]))
    gate = gateway.gate()
    gateway.reply("First.\n\n", gate, f"{MARK}\n\nLast.")
    conversation = owner.send("Hurt me while it streams")
    gate.wait_reached()
    page.goto(f"/c/{conversation}/")
    expect(page.locator("[data-part=body].prose")).to_contain_text("First.")
    gate.open()
    page.locator("[data-role=assistant][data-status=complete]").wait_for()
    watch.rest()
    assert page.locator("[data-part=body].prose [hx-get]").count() > 0
    assert [ALL[n] for n in watch.hits] == []
    expect(page.locator("h1#title").first).not_to_have_text("Taken over")
    expect(page.locator("form#composer")).to_have_count(1)


def test_with_the_policy_off_the_sanitiser_stops_every_payload(
    owner, gateway, open_page, complaints, other
):
    page = open_page(owner, bypass_csp=True)
    watch = Watch(page, other[1])
    gate = gateway.gate()
    told = "\n\n".join(filled([*ALL, *LAST], other[0]))
    gateway.reply("First.\n\n", gate, told, "\n\nLast.")
    conversation = owner.send("Hurt me")
    gate.wait_reached()
    page.goto(f"/c/{conversation}/")
    gate.open()
    page.locator("[data-role=assistant][data-status=complete]").wait_for()
    expect(page.locator("[data-part=body].prose")).to_contain_text("onerror")  # as words
    watch.rest()
    assert watch.hits == set()
    page.reload()
    watch.rest()
    assert watch.hits == set()
