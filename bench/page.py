"""What the first page costs: bytes over the wire, and the time until the composer can be used.

python -m bench.page
"""

import tempfile
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page, sync_playwright

from tests import browser as chromium
from tests.server import PASSWORD, Server

LIMIT_KB = 60
LIMIT_MS = 300
SLOWER = 4
ROUNDS = 5


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


def visit(browser: Browser, server: Server, state: dict) -> tuple[dict[str, float], float]:
    """One cold visit: bytes as they came, by address, and ms until a key could be typed."""
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
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
    usable_ms = usable_after(page)
    context.close()
    return {names[request]: size for request, size in sizes.items()}, usable_ms


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


def main() -> None:
    with tempfile.TemporaryDirectory() as data_dir, sync_playwright() as playwright:
        executable = chromium.chromium(playwright)
        if executable is None:
            print("page: no Chromium to measure with")
            return
        server = Server(Path(data_dir)).start()
        browser = chromium.launch(playwright, executable)
        try:
            state = log_in(browser, server)
            visits = [visit(browser, server, state) for _ in range(ROUNDS)]
        finally:
            browser.close()
            server.close()
    sizes, _ = visits[-1]
    for address, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{size:8.0f} B  {address.removeprefix(server.url)}")
    print(f"{sum(sizes.values()) / 1000:8.1f} kB in all, cold (at most {LIMIT_KB})")
    usable_ms = median(ms for _, ms in visits)
    print(f"{usable_ms:8.0f} ms until it can be used, CPU {SLOWER} times slower ({LIMIT_MS})")


if __name__ == "__main__":
    main()
