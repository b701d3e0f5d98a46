"""The built-in gateway in this process: its addresses, its refusals, and what it answers."""

from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.demo import answers, catalogue, wire
from chat.demo.app import MAX_REQUEST_BYTES, create_app
from chat.replies.prompt import GO_ON
from tests.demo import AUTHORIZATION, KEY, ask, question


@pytest.fixture
async def plain() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway as people get it, in this process."""
    transport = httpx.ASGITransport(create_app(KEY))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://demo", headers=AUTHORIZATION
    ) as client:
        yield client


# --- HTTP ---


async def test_models_are_listed_as_openai_does_with_the_fast_one_first(plain):
    answer = (await plain.get("/demo/v1/models")).json()

    assert answer["object"] == "list"
    assert [model["id"] for model in answer["data"]][:3] == [
        "demo-fast",
        "demo-slow",
        "demo-reasoning",
    ]
    assert all(model.keys() == {"id", "object", "created", "owned_by"} for model in answer["data"])


async def test_every_listed_model_exists(plain):
    for model in (await plain.get("/demo/v1/models")).json()["data"]:
        request = wire.Request(model["id"], [wire.Message("user", "Hi")])
        assert catalogue.script_for(request) is not None


@pytest.mark.parametrize(
    ("authorization", "code"),
    [(None, None), ("", None), ("Bearer", None), (f"Basic {KEY}", None)]
    + [(f"Bearer {wrong}", "invalid_api_key") for wrong in ("wrong", KEY + "x", KEY[:-1])],
)
async def test_without_the_right_key_nothing_is_told(plain, authorization, code):
    del plain.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}

    for answer in (
        await plain.get("/demo/v1/models", headers=headers),
        await plain.post("/demo/v1/chat/completions", headers=headers, content=b"{"),
    ):
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == code
        assert KEY not in answer.text


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"\xff", None),
        (b'{"model":"demo-fast","messages":[{"role":"user","content":"\\ud83d"}]}', None),
        (b'{"messages":[{"role":"user","content":"Hi"}]}', "model"),
        (b'{"model":"demo-fast"}', "messages"),
        (b'{"model":"demo-fast","messages":[]}', "messages"),
        (b'{"model":"demo-fast","messages":"Hi"}', None),
        (b'{"model":1,"messages":[]}', None),
        (b'{"model":"demo-fast","messages":[],"max_tokens":0}', None),
    ],
)
async def test_a_body_that_is_no_request_gets_400(plain, content, param):
    answer = await plain.post("/demo/v1/chat/completions", content=content)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["param"] == param


async def test_an_unknown_model_gets_404_by_its_name(plain):
    answer = await plain.post("/demo/v1/chat/completions", json=question("gpt-0"))

    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": "The model `gpt-0` does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


@pytest.mark.parametrize("model", ["fault/text=Hi;done", "fault", "replay/yo.sse", "demo-fast:9:0"])
async def test_scripts_are_unknown_models_unless_faults_are_on(plain, model):
    answer = await plain.post("/demo/v1/chat/completions", json=question(model))

    assert answer.status_code == 404


async def test_other_addresses_get_404_and_other_methods_405(plain):
    assert (await plain.get("/demo/v1/nothing")).status_code == 404
    assert (await plain.get("/demo/v1")).status_code == 404
    for method, path, allowed in [
        ("POST", "/demo/v1/models", "GET"),
        ("HEAD", "/demo/v1/models", "GET"),
        ("GET", "/demo/v1/chat/completions", "POST"),
    ]:
        answer = await plain.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_a_body_above_the_limit_gets_413(plain):
    answer = await plain.post("/demo/v1/chat/completions", content=b" " * (MAX_REQUEST_BYTES + 1))

    assert answer.status_code == 413


# --- answers ---


def test_an_answer_quotes_the_question_and_says_that_no_model_thinks_here():
    assert 'You asked: "What is it?"' in ask("What \n is it?")
    assert "no model thinks here" in ask("What is it?")


def test_the_language_of_the_question_is_the_language_of_the_answer():
    assert "Вы спросили: «Как дела?»" in ask("Hello", "Hi", "Как дела?")
    assert 'You asked: "Hello"' in ask("Как дела?", "Хорошо", "Hello")


def test_the_number_of_messages_is_told_once_there_are_earlier_turns():
    assert "messages came" not in ask("One", system="Be kind.")
    assert "3 messages came with this request" in ask("One", "Two", "Three", system="Be kind.")
    assert "пришло сообщений: 3" in ask("One", "Two", "Три")


@pytest.mark.parametrize(
    ("word", "mark"),
    [
        ("table", "|:---"),
        ("таблица", "|:---"),
        ("code", "```python"),
        ("код", "```python"),
        ("maths", "$$\n"),
        ("формула", "$$\n"),
        ("list", "- [x] "),
        ("список", "- [x] "),
        ("anything", "AITUNNEL_API_KEY"),
        ("что угодно", "AITUNNEL_API_KEY"),
    ],
)
def test_a_word_of_the_question_chooses_the_answer(word, mark):
    assert mark in ask(f"Please, {word}!")


def test_a_long_answer_has_some_three_thousand_words_and_a_short_one_few():
    for long, short in [("long", "short"), ("длинный", "короткий")]:
        assert 2500 < len(ask(long).split()) < 3500
        assert len(ask(short).split()) < 40


def test_an_answer_that_stopped_halfway_is_continued_and_not_begun_again():
    whole = ask("Tell me")
    half = whole[: len(whole) // 2]

    assert ask("Tell me", half) == whole[len(half) :]
    assert ask("Tell me", half, GO_ON) == whole[len(half) :]
    assert 'You asked: "Continue"' in ask("Tell me", whole, "Continue")


def test_parts_that_are_no_text_are_passed_over():
    parts = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "See"}]

    assert 'You asked: "See"' in answers.answer([wire.Message("user", parts)])


@pytest.mark.parametrize(
    "messages",
    [
        [("system", "Write a title for the talk."), ("user", "How do I bake a loaf of rye bread?")],
        [
            ("user", "How do I bake a loaf of rye bread?"),
            ("assistant", "So."),
            ("user", "A title?"),
        ],
        [("user", "Give it a title:\n\nHow do I bake a loaf of rye bread?")],
    ],
)
async def test_a_request_for_a_title_gets_a_few_words_of_the_question(plain, messages):
    body = question("demo-fast") | {
        "messages": [{"role": role, "content": content} for role, content in messages]
    }
    answer = (await plain.post("/demo/v1/chat/completions", json=body)).json()

    assert answer["choices"][0]["message"]["content"] == "How do I bake a loaf"


@given(st.text())
def test_pieces_put_together_are_the_text(text):
    assert "".join(wire.pieces(text)) == text
