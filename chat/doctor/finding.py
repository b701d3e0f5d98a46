"""What the doctor says of one thing: a line."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """name: of the check, the same in every language. advice: the one thing to do; '' if it is ok."""

    name: str
    level: Level
    sentence: str
    advice: str = ""


def ok(name: str, sentence: str) -> Finding:
    return Finding(name, "ok", sentence)


def warning(name: str, sentence: str, advice: str) -> Finding:
    return Finding(name, "warning", sentence, advice)


def error(name: str, sentence: str, advice: str) -> Finding:
    return Finding(name, "error", sentence, advice)
