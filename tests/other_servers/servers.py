"""How each of them is installed and started, and what must come of a chat with it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.server import free_port
from tests.waiting import until

KEY = "sk-potok-test"
ANSWER = "Привет, мир! 🌍 **Mock** reply with `code`."
LITELLM = f"""
model_list:
  - model_name: mock/answer
    litellm_params: {{model: openai/gpt-4o-mini, api_key: sk-none, mock_response: {ANSWER!r}}}
  - model_name: mock-ratelimit
    litellm_params:
      {{model: openai/gpt-4o-mini, api_key: sk-none, mock_response: "litellm.RateLimitError"}}
general_settings: {{master_key: {KEY}}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


class Question(NamedTuple):
    """A question with what must come of it.

    text: the whole reply, None any text at all. kinds: of the error; none for a reply that is
    complete. confidence: of the tokens.
    """

    model: str
    text: str | None
    kinds: tuple[str, ...] = ()
    confidence: str = "unknown"
    asked: str = "Hello!"


class Other(NamedTuple):
    """A server: its packages, how it is started in a scratch directory, and the chat."""

    packages: tuple[str, ...]
    command: Callable[[Path, Path, int], list[str]]
    health: str
    questions: tuple[Question, ...]


def litellm(python: Path, scratch: Path, port: int) -> list[str]:
    (scratch / "config.yaml").write_text(LITELLM)
    place = ["--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    return [str(python.parent / "litellm"), *place]


def transformers(python: Path, scratch: Path, port: int) -> list[str]:
    _make_model(python, "tiny_torch.py", scratch / "tiny")
    place = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    return [str(python.parent / "transformers"), "serve", *place, "tiny"]


def llama(python: Path, scratch: Path, port: int) -> list[str]:
    _make_model(python, "tiny_gguf.py", scratch / "tiny.gguf")
    place = ["--host", "127.0.0.1", "--port", str(port), "--api_key", KEY]
    model = ["--model", "tiny.gguf", "--model_alias", "tiny/random:q8@1", "--n_ctx", "1024"]
    return [
        str(python),
        "-m",
        "llama_cpp.server",
        *place,
        *model,
        "--n_threads",
        "1",
        "--seed",
        "7",
    ]


SERVERS = {
    "litellm": Other(
        ("litellm[proxy]",),
        litellm,
        "/health/liveliness",
        (
            Question("mock/answer", ANSWER, confidence="exact"),
            Question("mock-ratelimit", "", ("rate_limit",)),
            Question("nothing-here", "", ("bad_request", "not_found", "auth")),
        ),
    ),
    # Its /v1/models fails while nothing was ever downloaded: each name is one that was typed.
    "transformers": Other(
        ("torch", "transformers[serving]"),
        transformers,
        "/health",
        (Question("tiny", None, confidence="exact"),),
    ),
    # It tells no usage, and drops the connection over a prompt above its context.
    "llama": Other(
        ("llama-cpp-python[server]", "gguf"),
        llama,
        "/v1/models",
        (
            Question("tiny/random:q8@1", None),
            Question("tiny/random:q8@1", "", ("connection",), asked="word " * 1000),
        ),
    ),
}


@contextmanager
def running(name: str, python: Path, scratch: Path) -> Iterator[str]:
    """The server's address up to /v1, while it runs."""
    port = free_port()
    health = f"http://127.0.0.1:{port}{SERVERS[name].health}"
    with (scratch / "server.log").open("wb") as log:
        process = subprocess.Popen(
            SERVERS[name].command(python, scratch, port),
            cwd=scratch,
            env=_environment(python, scratch),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: _answers(health), f"{name} answers", 180)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _environment(python: Path, scratch: Path) -> dict[str, str]:
    return {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": str(scratch),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks another host for prices
        "NO_DOCS": "True",
        "HF_HUB_OFFLINE": "1",
    }


def _make_model(python: Path, script: str, target: Path) -> None:
    arguments = [python, Path(__file__).with_name(script), target]
    subprocess.run(arguments, check=True, env=_environment(python, target.parent))


def _answers(address: str) -> bool:
    try:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.get(address, headers=headers, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
