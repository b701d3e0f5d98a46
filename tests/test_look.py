"""What can be known about the looks without looking: the rules that style and security rest on."""

import re

import pytest

from tests.server import ROOT

STATIC = ROOT / "static"
TEMPLATES = [*ROOT.glob("templates/*.html"), *ROOT.glob("templates/admin/**/*.html")]
STYLES = [path for path in STATIC.glob("css/*.css") if path.name not in ("tokens.css", "admin.css")]
# Custom properties don't reach into a media query.
MEDIA = re.compile(r"@media[^{]*")
RAW = re.compile(
    r"(?<![\w-])(?:[\d.]*[1-9]\d*(?:px|rem|ms|s|pt)\b|#[\da-f]{3,8}\b(?=[^{]*;)|(?:oklch|rgba?|hsla?)\()"
)


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_raw_sizes_colours_and_times_stand_in_tokens_alone(path):
    rules = re.sub(r"/\*.*?\*/", "", MEDIA.sub("", path.read_text()), flags=re.S)
    assert RAW.findall(rules) == []


def test_every_token_that_is_used_is_made():
    made = set(re.findall(r"(--[\w-]+):", (STATIC / "css/tokens.css").read_text()))
    used = {
        (path.name, name)
        for path in STYLES
        for name in re.findall(r"var\((--[\w-]+)", path.read_text())
        if f"{name}:" not in path.read_text()
    }
    assert used
    assert [each for each in used if each[1] not in made] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_holds_neither_script_nor_style_of_its_own(path):
    """The content security policy would refuse it without a word to the reader."""
    source = path.read_text()
    assert (
        re.findall(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=|hx-on|javascript:", source)
        == []
    )


def test_the_sprite_holds_the_icons_that_are_shown_and_no_other():
    there = set(
        re.findall(r'<symbol id="icon-([\w-]+)"', (ROOT / "templates/_icons.html").read_text())
    )
    shown = {
        icon or name
        for path in TEMPLATES
        for name, icon in re.findall(
            r'{% (?:icon|button) "([\w-]+)"(?: "\w+" [\w.]+ label(?: icon="([\w-]+)")?)?',
            path.read_text(),
        )
    }
    assert there == shown


def test_a_page_of_the_admin_that_shows_messages_holds_the_icons():
    showing = [
        path for path in ROOT.glob("templates/admin/*.html") if "{% message" in path.read_text()
    ]
    assert showing
    assert [path.name for path in showing if "_icons.html" not in path.read_text()] == []


@pytest.mark.parametrize("path", [*STATIC.glob("js/*.js")], ids=lambda path: path.name)
def test_a_script_reaches_no_other_module_and_no_other_host(path):
    """But for the lists of what is served as one, which are nothing else."""
    source = path.read_text()
    is_list = path.name in ("chat.js", "rest.js")
    reaching = re.findall(r"^import.*|import\(|https?://", source, re.M)
    assert (reaching == source.splitlines()[1:]) if is_list else reaching == []
