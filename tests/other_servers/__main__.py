"""Chat with a server that nobody here wrote.

    python -m tests.other_servers                        # LiteLLM's proxy, with mock responses
    python -m tests.other_servers --server transformers  # transformers serve, a random tiny model
    python -m tests.other_servers --server llama         # llama-cpp-python, likewise

Not a part of `make test`: each installs itself into build/ first, up to 150 packages (the last one
compiles for ten minutes). Prints what came, fails if it differs.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.other_servers.servers import KEY, SERVERS, Question, running
from tests.server import ENDED, ROOT, Client, Server
from tests.waiting import until


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", choices=SERVERS, default="litellm")
    parser.add_argument("--python", type=Path, help="a Python that has its packages already")
    options = parser.parse_args()
    python = options.python.absolute() if options.python else install(options.server)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        with running(options.server, python, scratch) as url:
            env = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY, "POTOK_DEMO": "0"}
            server = Server(scratch / "potok", env).start(180)
            try:
                owner = server.visitor().set_up()
                owner.post("/parameters/", {"max_tokens": "40"})  # random models find no end
                differences = sum(
                    not ask(owner, each) for each in SERVERS[options.server].questions
                )
            finally:
                server.terminate()
        if differences:
            print(
                server.log, (scratch / "server.log").read_text(errors="replace")[-5000:], sep="\n"
            )
        return differences


def ask(owner: Client, question: Question) -> bool:
    """Whether it came as it must."""
    conversation = owner.send(question.asked, model=question.model)
    until(lambda: ended(owner, conversation), f"{question.model} ends", 60)
    reply = owner.export(conversation)["messages"][-1]
    kind = reply["error"] and reply["error"]["kind"]
    if question.kinds:
        fits = reply["status"] == "failed" and kind in question.kinds
    else:
        confidence = reply["usage"]["confidence"]
        fits = reply["status"] == "complete" and confidence == question.confidence
    fits = fits and (
        bool(reply["text"]) if question.text is None else reply["text"] == question.text
    )
    print("ok  " if fits else "DIFF", question.model, reply["status"], reply["finish_reason"])
    print("    ", reply["error"] or repr(reply["text"]), reply["usage"])
    return fits


def ended(owner: Client, conversation: str) -> bool:
    return owner.export(conversation)["messages"][-1]["status"] in ENDED


def install(name: str) -> Path:
    place = ROOT / "build" / name
    if not (place / "installed").exists():
        venv.create(place, with_pip=True)
        pip = [place / "bin" / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *SERVERS[name].packages], check=True)
        (place / "installed").touch()
    return place / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
