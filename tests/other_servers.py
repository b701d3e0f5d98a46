"""Chat with a server that nobody here wrote: LiteLLM's proxy, with mock responses.

    python -m tests.other_servers            # installs it into build/litellm first

Not a part of `make test`: the proxy brings some 150 packages. Prints what came, fails if it differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.server import ROOT, Client, Server, free_port
from tests.waiting import until

VENV = ROOT / "build" / "litellm"
ANSWER = "Привет, мир! 🌍 **Mock** reply with `code`."
CONFIG = f"""
model_list:
  - model_name: mock/answer
    litellm_params: {{model: openai/gpt-4o-mini, api_key: sk-none, mock_response: {ANSWER!r}}}
  - model_name: mock-ratelimit
    litellm_params:
      {{model: openai/gpt-4o-mini, api_key: sk-none, mock_response: "litellm.RateLimitError"}}
general_settings: {{master_key: sk-potok-test}}
litellm_settings: {{telemetry: false, num_retries: 0}}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, help="a Python that has litellm[proxy] already")
    python = parser.parse_args().python or install()
    with tempfile.TemporaryDirectory() as scratch, litellm(python, Path(scratch)) as url:
        env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-potok-test", "POTOK_DEMO": "0"}
        server = Server(Path(scratch) / "potok", env).start()
        try:
            return chat(server.visitor().set_up())
        finally:
            server.terminate()


def chat(owner: Client) -> int:
    """Each question with what must come of it; the number of differences."""
    expected = {
        "mock/answer": ("complete", ANSWER, None),
        "mock-ratelimit": ("failed", "", "rate_limit"),
        "nothing-here": ("failed", "", ("bad_request", "not_found", "auth")),
    }
    differences = 0
    for model, (status, text, kinds) in expected.items():
        conversation = owner.send("Hello!", model=model)
        until(lambda c=conversation: ended(owner, c), f"{model} ends", 60)
        reply = owner.export(conversation)["messages"][-1]
        kind = reply["error"] and reply["error"]["kind"]
        fits = reply["status"] == status and reply["text"] == text
        fits = fits and (kind in kinds if kinds else kind is None)
        differences += not fits
        print("ok  " if fits else "DIFF", model, reply["status"], reply["error"], reply["usage"])
    if differences:
        print(owner.server.log)
    return differences


def ended(owner: Client, conversation: str) -> bool:
    return owner.export(conversation)["messages"][-1]["status"] not in ("queued", "streaming")


def install() -> Path:
    python = VENV / "bin" / "python"
    if not (VENV / "bin" / "litellm").exists():
        venv.create(VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "litellm[proxy]"], check=True)
    return python


@contextmanager
def litellm(python: Path, scratch: Path) -> Iterator[str]:
    """The proxy's address up to /v1, while it runs."""
    (scratch / "config.yaml").write_text(CONFIG)
    port = free_port()
    log = (scratch / "litellm.log").open("wb")
    arguments = ["--config", scratch / "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [python.parent / "litellm", *arguments],
        cwd=scratch,
        env={
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "HOME": str(scratch),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks another host for prices
            "NO_DOCS": "True",
        },
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        until(lambda: answers(port), "the proxy answers", 120)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/health/liveliness"
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    sys.exit(main())
