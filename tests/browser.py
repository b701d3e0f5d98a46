"""A real Chromium, and an eye on what its pages complain about.

`python -m tests.browser` ends with 0 where a Chromium can be started.
"""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Playwright, sync_playwright

ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # A page that a test answers itself has no address, and would not be let to one of this machine.
    "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
    # The browser finds no host but this one.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
# Chromium's sandbox refuses to run as root.
ROOT_ARGUMENTS = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
INSTALLED = [Path("/usr/bin/chromium"), Path("/usr/bin/google-chrome")]


def chromium(playwright: Playwright) -> Path | None:
    """The machine's Chromium, else the one Playwright downloaded, else None."""
    own = Path(playwright.chromium.executable_path)
    return next((path for path in [*INSTALLED, own] if path.exists()), None)


def launch(playwright: Playwright, executable: Path) -> Browser:
    return playwright.chromium.launch(
        executable_path=executable, args=[*ARGUMENTS, *ROOT_ARGUMENTS]
    )


class Complaints:
    """What the pages of a context complain about: script errors, CSP, a request to another host."""

    def __init__(self, context: BrowserContext) -> None:
        self.found: list[str] = []
        self._allowed: list[re.Pattern[str]] = []
        context.on(
            "console",
            lambda message: message.type == "error" and self._note(message.text),
        )
        context.on("weberror", lambda failure: self._note(f"uncaught: {failure.error}"))
        context.on("request", lambda request: self._note_host(request.url))

    def allow(self, pattern: str) -> None:
        """Complaints that match are what the test is about, such as 'status of 422'."""
        self._allowed.append(re.compile(pattern))

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.found if not any(p.search(text) for p in self._allowed)]

    def _note(self, text: str) -> None:
        self.found.append(text)

    def _note_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.hostname and parts.hostname not in ("127.0.0.1", "localhost"):
            self._note(f"a request to {url}")


if __name__ == "__main__":
    with sync_playwright() as playwright:
        found = chromium(playwright)
        if found is None:
            raise SystemExit("no Chromium")
        launch(playwright, found).close()
