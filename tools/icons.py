"""Draw the icons of an installed Potok from static/favicon.svg: python -m tools.icons

They fill their square and keep the mark within the circle that a platform may cut from it.
"""

import re
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests import browser as chromium

STATIC = Path(__file__).resolve().parent.parent / "static"
SIZES = (192, 512)


def main() -> None:
    drawing = (STATIC / "favicon.svg").read_text().replace(' rx="8"', "")
    # Around the middle of the square, where the mark's own middle is as well.
    drawing = re.sub(r"translate\(4 4\)", "translate(5.2 5.2) scale(0.9)", drawing)
    with sync_playwright() as playwright:
        executable = chromium.chromium(playwright)
        if executable is None:
            raise SystemExit("There is no Chromium to draw with.")
        browser = chromium.launch(playwright, executable)
        for size in SIZES:
            page = browser.new_page(viewport={"width": size, "height": size})
            page.set_content(f"<style>* {{ margin: 0; display: block }}</style>{drawing}")
            page.screenshot(path=STATIC / f"icon-{size}.png")
        browser.close()


if __name__ == "__main__":
    main()
