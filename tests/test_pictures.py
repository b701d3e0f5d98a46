"""Images that a model made are kept, shown as links, and served as pixels that we drew ourselves."""

import base64
import io
import re
import struct
import zlib

import pytest
from PIL import Image, PngImagePlugin

from chat.models.pictures import decode, in_text
from chat.rendering.redraw import redraw
from tests.script import chunk

SECRET = b"taken at 55.75, 37.61"
SCRIPT = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"


def made(kind: str, frames: int = 1, **more: object) -> bytes:
    """An image of this format, each frame of a colour of its own, that tells more than its pixels."""
    colours = ["red", "green", "blue", "white"]
    images = [Image.new("RGB", (8, 6), colours[n]) for n in range(frames)]
    if kind == "PNG":
        told = PngImagePlugin.PngInfo()
        told.add_text("Comment", SECRET.decode())
        more["pnginfo"] = told
    elif kind == "GIF":
        more["comment"] = SECRET
    else:
        exif = Image.Exif()
        exif[0x010E] = SECRET.decode()  # ImageDescription
        more["exif"] = exif.tobytes()
    if frames > 1:
        more |= {"save_all": True, "append_images": images[1:], "duration": 120, "loop": 0}
    file = io.BytesIO()
    images[0].save(file, kind, **more)
    content = file.getvalue()
    assert SECRET in content
    return content


def as_url(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def images(*urls: str) -> bytes:
    return chunk({"images": [{"type": "image_url", "image_url": {"url": url}} for url in urls]})


def served(owner, conversation):
    """What each picture of the last reply is served as, in their order."""
    message = owner.last(conversation)["id"]
    page = owner.get(f"/c/{conversation}/").text
    return [owner.get(path) for path in re.findall(rf"/m/{message}/pictures/\d+/", page)]


@pytest.fixture
def drawn(owner, gateway):
    """A reply that brought an image, a remote one, and something that only claims to be one."""
    remote = "https://images.example/cat.png"
    gateway.reply("Here it is.", images(as_url(made("PNG")), as_url(SCRIPT), remote))
    conversation = owner.send("Draw a cat")
    owner.wait_for_reply(conversation)
    return conversation


def test_an_image_is_kept_and_shown_as_a_link(owner, drawn):
    page = owner.get(f"/c/{drawn}/").text
    assert "Image 1, PNG, " in page
    assert "File 2, " in page
    assert "https://images.example/cat.png" in page
    assert "<img" not in page


def test_an_image_is_served_as_we_drew_it_and_what_is_none_only_to_be_saved(owner, drawn):
    image, other = served(owner, drawn)
    assert image.headers["Content-Type"] == "image/png"
    assert image.headers["Content-Disposition"].startswith("inline;")
    assert SECRET not in image.content
    with Image.open(io.BytesIO(image.content)) as found:
        assert (found.size, found.getpixel((0, 0))) == ((8, 6), (255, 0, 0))
    assert other.content == SCRIPT
    assert other.headers["Content-Type"] == "application/octet-stream"
    assert other.headers["Content-Disposition"].startswith("attachment;")
    for answer in (image, other):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_an_image_is_drawn_once(owner, drawn):
    first, second = served(owner, drawn)[0], served(owner, drawn)[0]
    assert first.content == second.content


def test_an_image_within_the_text_is_kept_beside_it(owner, gateway):
    gateway.reply(f"Look: ![a cat]({as_url(made('PNG'))}) and ![]({as_url(SCRIPT)}).")
    conversation = owner.send("Draw a cat into the text")
    owner.wait_for_reply(conversation)
    page = owner.get(f"/c/{conversation}/").text
    assert "Look: a cat and data:image/png;base64," in page  # nothing goes unseen
    image, other = served(owner, conversation)
    assert (image.headers["Content-Type"], other.content) == ("image/png", SCRIPT)
    assert as_url(made("PNG")) in owner.last(conversation)["text"]


@pytest.mark.parametrize("url", ["", "data:", "data:image/png,x", "data:image/png;base64,%", "x"])
def test_what_is_no_data_url_is_no_image(url):
    assert decode(url) == b""


def test_only_whole_images_are_found_in_a_text():
    url = as_url(b"12345")
    assert (
        list(in_text(f"![a]({url}) ![b](<{url}> 'title') [c]({url}) {url} ![d]({url}")) == [url] * 2
    )
    assert list(in_text("![" * 100_000)) == []


# --- drawing anew ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_only_pixels_pass(kind):
    polyglot = made(kind) + SCRIPT
    found = redraw(polyglot)
    assert found is not None
    assert found.media_type == f"image/{kind.lower()}"
    assert not any(told in found.content for told in (SECRET, SCRIPT))
    with Image.open(io.BytesIO(found.content)) as image:
        assert image.size == (8, 6)
        pixel = image.convert("RGB").getpixel((4, 3))
    assert max(abs(a - b) for a, b in zip(pixel, (255, 0, 0), strict=True)) < 6


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_what_moves_goes_on_moving(kind):
    found = redraw(made(kind, frames=3))
    assert found is not None
    assert SECRET not in found.content
    with Image.open(io.BytesIO(found.content)) as image:
        assert image.n_frames == 3
        image.seek(2)
        image.load()
        assert image.info["duration"] == 120
        assert image.convert("RGB").getpixel((4, 3))[2] > 240


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it is this large, in one bit a pixel."""

    def part(name: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + crc

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes((width // 8 + 1) * 1000), 9)
    parts = part(b"IHDR", head) + part(b"IDAT", body) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SCRIPT, id="svg"),
        pytest.param(made("PNG")[:-40], id="cut short"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="a signature alone"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt ", id="a sound"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n", id="a program for printers"),
        pytest.param(bomb(60_000, 60_000), id="too many pixels"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_cannot_be_drawn_is_said_to_be_none(content):
    assert redraw(content) is None
