"""The program behind `redraw`: an image on standard input; its type, a line, and the image drawn anew.

Ends with another status than 0 where there is nothing to draw. Imports nothing of ours, and Pillow,
which reads what is hostile, once its limits stand.
"""

import io
import resource
import sys
from typing import Any

_MB = 1024 * 1024
# Of all frames together: four bytes each, and a few copies of them while an image is drawn.
MAX_PIXELS = 16_000_000
MAX_FRAMES = 500
LIMITS = {
    resource.RLIMIT_AS: 512 * _MB,
    resource.RLIMIT_CPU: 20,
    resource.RLIMIT_FSIZE: 32 * _MB,
    resource.RLIMIT_NOFILE: 32,
    resource.RLIMIT_NPROC: 0,
    resource.RLIMIT_CORE: 0,
}
# What Pillow calls a format, how it is served, and how it is written.
FORMATS: dict[str, tuple[str, dict[str, object]]] = {
    "PNG": ("image/png", {}),
    "JPEG": ("image/jpeg", {"quality": 92}),
    "GIF": ("image/gif", {"disposal": 2}),
    "WEBP": ("image/webp", {"quality": 92}),
}


def main() -> None:
    for limit, most in LIMITS.items():
        resource.setrlimit(limit, (most, most))
    media_type, drawn = draw(sys.stdin.buffer.read())
    sys.stdout.buffer.write(media_type.encode() + b"\n" + drawn)


def draw(content: bytes) -> tuple[str, bytes]:
    """The type and the bytes of the image, its frames and their times, and nothing else of it."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=list(FORMATS)) as image:
        kind = str(image.format)
        count = getattr(image, "n_frames", 1)
        if count > MAX_FRAMES or image.width * image.height * count > MAX_PIXELS:
            raise ValueError("too many pixels")
        frames, times = [], []
        loop = image.info.get("loop")
        for number in range(count):
            image.seek(number)
            # Which way up it is would go with what else is told of it.
            upright = ImageOps.exif_transpose(image) if count == 1 else image
            frames.append(_plain(upright, kind))
            # Some formats know it once the frame is read.
            times.append(int(image.info.get("duration") or 0))
    media_type, how = FORMATS[kind]
    if count > 1:
        how = how | {"save_all": True, "append_images": frames[1:], "duration": times}
        how |= {} if loop is None else {"loop": loop}
    drawn = io.BytesIO()
    frames[0].save(drawn, kind, **how)
    return media_type, drawn.getvalue()


def _plain(image: Any, kind: str) -> Any:
    """The pixels alone; colours of a profile are taken for those of the web."""
    is_clear = kind != "JPEG" and image.has_transparency_data
    mode = "L" if image.mode in ("1", "L") else "RGBA" if is_clear else "RGB"
    pixels = image.convert(mode)
    pixels.info = {}
    return pixels


if __name__ == "__main__":
    main()
