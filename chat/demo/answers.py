"""What the demo says: a text chosen by the words of the question, in its language."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from . import almanac
from .wire import Message

TEXTS_DIR = Path(__file__).parent / "texts"

# The topic whose word comes first in the question is the answer's.
TOPICS = {
    "table": r"\btabl|\bтабли",
    "code": r"\bcode|\bprogram|\bpython\b|\bкод|\bпрограмм",
    "maths": r"\bmath|\bformula|\bequation|\bматем|\bформул|\bуравнен",
    "lists": r"\blists?\b|\btasks?\b|\bспис[ок]",
    "long": r"\blong\b|\bдлинн",
    "short": r"\bshort\b|\bкоротк|\bкратк",
}
TITLE = re.compile(r"\btitle\b|заголов|назван", re.IGNORECASE)
CONTINUE = re.compile(r"\W*(continue|go on|продолж)", re.IGNORECASE)
QUOTED_WORDS = 12
QUOTED_CHARS = 120
TITLE_WORDS = 6
CYRILLIC = re.compile(r"[\u0400-\u04ff]")

INTRO = {
    "en": 'You asked: "{question}"\n\n'
    "*This is the built-in demo: no model thinks here, every answer was written beforehand.*",
    "ru": "Вы спросили: «{question}»\n\n"
    "*Это встроенный демо-режим: здесь не думает никакая модель, все ответы написаны заранее.*",
}
HISTORY = {
    "en": "{count} messages came with this request, earlier turns included.",
    "ru": "С этим запросом пришло сообщений: {count}, вместе с прежними.",
}
THOUGHTS = {
    "en": "A real model would think here, and this part would be its reasoning.\n\n"
    "The question begins with “{question}”. Words in it: {count}; they decide which of the "
    "prepared texts fits. The language is English, because the question has no Cyrillic letter "
    "in it. Nothing else needs to be weighed, so the answer can start.",
    "ru": "Настоящая модель здесь бы думала, и это были бы её рассуждения.\n\n"
    "Вопрос начинается так: «{question}». Слов в нём: {count}, по ним и выбирается один из "
    "готовых текстов. Язык русский, потому что в вопросе есть кириллица. "
    "Больше взвешивать нечего, можно отвечать.",
}


def answer(messages: Sequence[Message]) -> str:
    """The answer in Markdown; where one stopped halfway, the part that is not there yet."""
    return remainder(messages) or whole_answer(messages)


def remainder(messages: Sequence[Message]) -> str:
    """What is missing of an answer that is to be continued; empty where there is none.

    It is to be continued when it comes last, or when only a request to go on follows it.
    """
    turns = list(messages)
    if len(turns) > 1 and turns[-1].role == "user" and CONTINUE.match(turns[-1].text):
        turns.pop()
    if not turns or turns[-1].role != "assistant":
        return ""
    said = turns.pop().text
    text = whole_answer(turns)
    return text.removeprefix(said) if said and text.startswith(said) else ""


def whole_answer(messages: Sequence[Message]) -> str:
    question = last_question(messages)
    language = language_of(question)
    paragraphs = [INTRO[language].format(question=first_words(question))]
    count = sum(message.role != "system" for message in messages)
    if count > 1:
        paragraphs.append(HISTORY[language].format(count=count))
    paragraphs.append(text_on(topic_of(question), language))
    return "\n\n".join(paragraphs)


def thoughts(messages: Sequence[Message]) -> str:
    question = last_question(messages)
    return THOUGHTS[language_of(question)].format(
        question=first_words(question), count=len(question.split())
    )


def asks_for_title(messages: Sequence[Message]) -> bool:
    """Whether the instruction, which is the first or the last message, asks for a title."""
    return any(TITLE.search(message.text) for message in (messages[0], messages[-1]))


def title(messages: Sequence[Message]) -> str:
    """A few words of the conversation's first question that is not itself the instruction."""
    questions = [message.text for message in messages if message.role == "user"]
    text = next((text for text in questions if not TITLE.search(text)), "")
    if not text:
        # The instruction and the conversation came in one message, the conversation last.
        text = questions[-1].strip().splitlines()[-1] if questions else ""
    return " ".join(text.split()[:TITLE_WORDS]).strip(" .,:;!?\"'«»“”")[:60] or "Demo"


def last_question(messages: Sequence[Message]) -> str:
    return next((turn.text for turn in reversed(messages) if turn.role == "user"), "")


def language_of(text: str) -> str:
    return "ru" if CYRILLIC.search(text) else "en"


def topic_of(question: str) -> str:
    found = {
        topic: match.start()
        for topic, pattern in TOPICS.items()
        if (match := re.search(pattern, question, re.IGNORECASE))
    }
    return min(found, key=found.__getitem__, default="tour")


def first_words(text: str) -> str:
    """The beginning of a question on one line."""
    words = text.split()
    short = " ".join(words[:QUOTED_WORDS])[:QUOTED_CHARS]
    return short if short == " ".join(words) else f"{short}…"


@cache
def text_on(topic: str, language: str) -> str:
    if topic == "long":
        return almanac.write(language)
    return (TEXTS_DIR / f"{topic}.{language}.md").read_text(encoding="utf-8").strip()
