"""The built-in gateway under a real Daphne, what it is asked, and how its answers are read."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chat.demo import answers, wire
from tests.waiting import until

KEY = "demo-key"
ROOT = Path(__file__).parents[1]
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
RECORDING = b'data: {"choices":[{"delta":{"content":"\xd0\x81"}}]}\n\ndata: [DONE]\n\n'

SERVED = """
from pathlib import Path
from chat.demo.app import create_app
demo = create_app({key!r}, faults=True, streams_dir=Path(__file__).parent / "streams")
running = 0
async def app(scope, receive, send):
    global running
    if scope["path"] == "/running":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        return await send({{"type": "http.response.body", "body": str(running).encode()}})
    running += 1
    try:
        await demo(scope, receive, send)
    finally:
        running -= 1
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the gateway under Daphne, with scripted faults; /running counts its replies."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "demo_served.py").write_text(SERVED.format(key=KEY))
    (folder / "streams").mkdir()
    (folder / "streams" / "yo.sse").write_bytes(RECORDING)
    (folder / "secret.txt").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    daphne = [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        [*daphne, "demo_served:app"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"},
    )
    try:
        until(lambda: is_listening(port), "Daphne listens")
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers=AUTHORIZATION, timeout=5) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def running(client: httpx.Client) -> int:
    return int(client.get("/running").text)


def question(model: str, *texts: str, **more: Any) -> dict[str, Any]:
    """A request; the texts are the user's and the assistant's in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts or ["Hi"])]
    return {"model": model, "messages": messages, **more}


def completions(client: httpx.Client, model: str, *texts: str, **more: Any) -> httpx.Response:
    body = question(model, *texts, **{"stream": True, **more})
    return client.post("/demo/v1/chat/completions", json=body)


def events(body: bytes) -> list[Any]:
    """The payloads of a stream; [DONE] as the string."""
    assert body.endswith(b"\n\n")
    frames = body[:-2].split(b"\n\n")
    assert all(frame.startswith(b"data: ") for frame in frames)
    payloads = [frame.removeprefix(b"data: ") for frame in frames]
    return ["[DONE]" if payload == b"[DONE]" else json.loads(payload) for payload in payloads]


def said(body: bytes, key: str = "content") -> str:
    chunks = [event for event in events(body) if event != "[DONE]" and event.get("choices")]
    return "".join(chunk["choices"][0]["delta"].get(key, "") for chunk in chunks)


def ask(*texts: str, system: str = "") -> str:
    messages = [wire.Message("system", system)] if system else []
    turns = question("demo-fast", *texts)["messages"]
    return answers.answer([*messages, *(wire.Message(**turn) for turn in turns)])
