"""What the first page costs: bytes, time until the composer can be used, and requests when one returns.

python -m bench.page

On a machine that does other things meanwhile the time tells of these. What the browser's main thread
worked in it does not depend on them, so it is told as well, by what it was spent on. The floor is a
line of plain text of the same server, seen in the same slowed browser; between the two stands the same
page where no script comes: what its HTML and its styles cost.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests import browser as chromium
from tests.server import PASSWORD, Server

LIMIT_KB = 60
LIMIT_MS = 300
SLOWER = 4
ROUNDS = 5
WORK = {
    "ThreadControllerImpl::RunTask": "in all",
    "ParseHTML": "HTML",
    "ParseAuthorStyleSheet": "stylesheets",
    "UpdateLayoutTree": "styles",
    "Layout": "layout",
    "Paint": "paint",
    "v8.evaluateModule": "scripts",
}


def log_in(browser: Browser, server: Server) -> dict:
    """The browser state of the owner, whom this makes."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.url}/setup/")
    page.fill("[name=username]", "owner")
    page.fill("[name=password1]", PASSWORD)
    page.fill("[name=password2]", PASSWORD)
    page.click("main button")
    page.wait_for_url(f"{server.url}/")
    state = context.storage_state()
    context.close()
    return state


def visit(browser: Browser, server: Server, state: dict) -> tuple[dict[str, float], float, list]:
    """A cold visit: bytes as they came, by address, and ms until a key could be typed.

    And the addresses that the same browser asks the server for when it comes again.
    """
    context = browser.new_context(storage_state=state)
    sizes, again = opened(context, server), opened(context, server)
    context.close()
    return sizes, usable(browser, server, state), list(again)


def usable(browser: Browser, server: Server, state: dict) -> float:
    """ms, of a page whose requests nobody counts: that would be work of the slowed thread as well."""
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    slow_down(context, page)
    page.goto(f"{server.url}/", wait_until="load")
    page.wait_for_selector("body[data-connection=live]")
    usable_ms = usable_after(page)
    context.close()
    return usable_ms


def slow_down(context: BrowserContext, page: Page) -> None:
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})


def floor(browser: Browser, server: Server) -> float:
    """ms until a line of text is seen: what no page of this browser on this machine can be below."""
    return painted(browser.new_context(), f"{server.url}/healthz")


def without_scripts(browser: Browser, server: Server, state: dict) -> float:
    """ms until the first page is seen that gets none of its scripts."""
    return painted(browser.new_context(storage_state=state), f"{server.url}/", ["*.js"])


def painted(context: BrowserContext, url: str, refused: Sequence[str] = ()) -> float:
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.setBlockedURLs", {"urls": [*refused]})
    slow_down(context, page)
    page.goto(url, wait_until="load")
    seen = """() => new Promise((told) => new PerformanceObserver((list) => {
        const first = list.getEntriesByName("first-contentful-paint")[0]
        if (first) told(first.startTime)
    }).observe({ type: "paint", buffered: true }))"""
    seen_ms = float(page.evaluate(seen))
    context.close()
    return seen_ms


def opened(context: BrowserContext, server: Server) -> dict[str, float]:
    """The first page in a new tab: bytes over the wire, by address."""
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    names: dict[str, str] = {}
    sizes: dict[str, float] = {}
    devtools.on(
        "Network.responseReceived",
        lambda event: names.update({event["requestId"]: event["response"]["url"]}),
    )
    devtools.on(
        "Network.loadingFinished",
        lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}),
    )
    page.goto(f"{server.url}/", wait_until="load")
    page.wait_for_selector("body[data-connection=live]")
    page.wait_for_load_state("networkidle")
    page.close()
    # What the browser's own cache answers has no bytes.
    return {names[request]: size for request, size in sizes.items() if size}


def usable_after(page: Page) -> float:
    """ms from the navigation until the composer is seen and its script has run: Enter sends.

    What comes later makes it better: without htmx the form is posted as any other.
    """
    return float(
        page.evaluate(
            """Math.max(
                performance.getEntriesByName("usable")[0].startTime,
                performance.getEntriesByName("first-contentful-paint")[0].startTime,
            )"""
        )
    )


def traced(browser: Browser, server: Server, state: dict) -> Counter[str]:
    """ms of the main thread's work until the composer can be used, at full speed: `all`, and of what.

    Nothing where the trace began too late.
    """
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    browser.start_tracing(
        page=page, categories=["blink.user_timing", "devtools.timeline", "toplevel"]
    )
    page.goto(f"{server.url}/", wait_until="load")
    page.wait_for_selector("body[data-connection=live]")
    events = json.loads(browser.stop_tracing())["traceEvents"]
    context.close()
    return spent(events)


def spent(events: list[dict[str, Any]]) -> Counter[str]:
    used = next(event for event in events if event["name"] == "usable")
    threads = [e for e in events if e["name"] == "thread_name" and e["pid"] == used["pid"]]
    main = next(e["tid"] for e in threads if e["args"]["name"] == "CrRendererMain")
    mine = [e for e in events if (e["pid"], e["tid"]) == (used["pid"], main)]
    # Other frames of the process begin too, and lead nowhere.
    begins = [e["ts"] for e in mine if e["ts"] < used["ts"] and leads_somewhere(e)]
    if not begins:
        return Counter()
    begin = max(begins)
    painted = [e["ts"] for e in mine if e["name"] == "firstContentfulPaint" and e["ts"] > begin]
    end = max([used["ts"], *painted])
    found: Counter[str] = Counter()
    for event in mine:
        if event["ph"] == "X" and begin <= event["ts"] < end and event["name"] in WORK:
            found[WORK[event["name"]]] += event.get("tdur", 0) / 1000
    return found


def leads_somewhere(event: dict[str, Any]) -> bool:
    is_start = event["name"] == "navigationStart"
    return is_start and bool(event["args"]["data"].get("documentLoaderURL"))


def main() -> None:
    with tempfile.TemporaryDirectory() as data_dir, sync_playwright() as playwright:
        executable = chromium.chromium(playwright)
        if executable is None:
            print("page: no Chromium to measure with")
            return
        server = Server(Path(data_dir)).start(deadline_s=600)
        browser = chromium.launch(playwright, executable)
        try:
            state = log_in(browser, server)
            visits = [visit(browser, server, state) for _ in range(ROUNDS)]
            floor_ms = median(floor(browser, server) for _ in range(ROUNDS))
            plain_ms = median(without_scripts(browser, server, state) for _ in range(ROUNDS))
            traces = [traced(browser, server, state) for _ in range(ROUNDS)]
        finally:
            browser.close()
            server.close()
    least = min(filter(None, traces), key=itemgetter("in all"))
    sizes, _, again = visits[-1]
    for address, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{size:8.0f} B  {address.removeprefix(server.url)}")
    print(f"{sum(sizes.values()) / 1000:8.1f} kB in all, cold (at most {LIMIT_KB})")
    usable_ms = median(ms for _, ms, _ in visits)
    asked = ", ".join(address.removeprefix(server.url) for address in again)
    print(f"{len(again):8} request to the server when one comes again: {asked} (1)")
    told = ", ".join(f"{name} {ms:.0f}" for name, ms in least.most_common())
    print(f"{least['in all']:8.0f} ms of the main thread's work until then, at full speed: {told}")
    print(f"{usable_ms:8.0f} ms until it can be used, CPU {SLOWER} times slower ({LIMIT_MS})")
    print(
        f"{usable_ms / floor_ms:8.1f} times the floor, a line of text seen after {floor_ms:.0f} ms;"
        f" the same page without its scripts after {plain_ms:.0f}"
    )


if __name__ == "__main__":
    main()
