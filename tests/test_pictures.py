"""Images that a model made are kept, shown as links, and served so that nothing in them can run."""

import base64

import pytest

from chat.models.pictures import decode
from tests.script import chunk

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


def images(*urls: str) -> bytes:
    return chunk({"images": [{"type": "image_url", "image_url": {"url": url}} for url in urls]})


@pytest.fixture
def drawn(owner, gateway):
    """A reply that brought an image, a remote one, and something that only claims to be one."""
    script = b"<svg onload=alert(1)>"
    fake = "data:image/png;base64," + base64.b64encode(script).decode()
    remote = "https://images.example/cat.png"
    gateway.reply("Here it is.", images(DATA_URL, fake, remote))
    conversation = owner.send("Draw a cat")
    owner.wait_for_reply(conversation)
    return conversation


def test_an_image_is_kept_and_shown_as_a_link(owner, drawn):
    page = owner.get(f"/c/{drawn}/").text
    assert "Image 1, PNG, 70" in page
    assert "https://images.example/cat.png" in page
    assert "<img" not in page
    assert "Image 2" not in page


def test_an_image_is_served_as_it_came_and_only_to_be_saved(owner, drawn):
    message = owner.last(drawn)["id"]
    found = [
        answer
        for number in range(1, 200)
        if (answer := owner.get(f"/m/{message}/pictures/{number}/")).status_code == 200
    ]
    (answer,) = found
    assert answer.content == PNG
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("url", ["", "data:", "data:image/png,x", "data:image/png;base64,%", "x"])
def test_what_is_no_data_url_is_no_image(url):
    assert decode(url) == b""
