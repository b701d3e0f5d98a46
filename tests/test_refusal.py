"""Error bodies of every dialect, and when to ask again."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.upstream.errors import GatewayError, retry_delay_s
from chat.upstream.refusal import from_response, parse_retry_after, presentable

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def refused(status: int, body: object, **headers: str) -> GatewayError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return from_response(status, headers, raw)


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (400, {"error": {"message": "x"}}, "bad_request", None),
        (400, {"error": {"code": "context_length_exceeded"}}, "bad_request", "context_length"),
        (
            400,
            {"error": "This model's maximum context length is 8 tokens"},
            "bad_request",
            "context_length",
        ),
        (413, b"", "bad_request", None),
        (
            422,
            {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs"}]},
            "bad_request",
            "include_usage",
        ),
        (400, {"error": "unknown field include_usage"}, "bad_request", "include_usage"),
        (400, {"error": {"param": "stream_options"}}, "bad_request", "include_usage"),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "bad"}]}, "bad_request", None),
        (400, {"error": {"code": "content_filter"}}, "bad_request", "content_filter"),
        (403, {"error": {"message": "Your input was flagged"}}, "bad_request", "content_filter"),
        (400, {"error": {"code": "invalid_api_key"}}, "auth", None),
        (400, {"error": {"message": "x", "status": "INVALID_ARGUMENT"}}, "bad_request", None),
        (429, {"error": {"type": "insufficient_quota"}}, "balance", None),
        (404, {"error": {"message": "The model `x` does not exist"}}, "not_found", "model"),
        (404, b"Not Found", "not_found", None),
        (408, b"", "timeout", None),
        (500, {"message": "x"}, "server", None),
        (529, b"overloaded", "server", None),
        (302, b"moved", "protocol", "redirect"),
    ],
)
def test_a_refusal_has_a_kind_and_where_it_helps_a_reason(
    status: int, body: object, kind: str, reason: str | None
) -> None:
    error = refused(status, body)
    assert (error.kind, error.reason, error.status) == (kind, reason, status)


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"error": "a"}',
        b'{"error": {"message": "a", "code": 1e400}}',
        b'data: {"error": {"message": "a"}}\n\n',
        b'event: error\r\ndata:{"message": "a"}',
    ],
)
def test_an_error_body_that_is_not_quite_json_is_read(body: bytes) -> None:
    assert refused(400, body).message == "a"


@pytest.mark.parametrize(
    ("error", "parameters"),
    [
        (
            {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model."
                " Use 'max_completion_tokens' instead.",
                "param": "max_tokens",
                "code": "unsupported_parameter",
            },
            ("max_tokens",),
        ),
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            ("max_tokens", "max_completion_tokens"),
        ),
        (
            {"message": "Only the default (1) is taken.", "param": "temperature"}
            | {"code": "unsupported_value"},
            ("temperature",),
        ),
        ([{"type": "extra_forbidden", "loc": ["body", "top_p"], "msg": "Extra"}], ("top_p",)),
        ("openai does not support parameters: ['reasoning_effort']", ("reasoning_effort",)),
        ("Unknown field `seed`", ("seed",)),
        ({"message": "must be at most 2", "param": "temperature"}, ()),
        ("Unsupported value: 'verbosity'. Supported values are: 'low'", ()),
        ("max_tokens is too large: 100000", ()),
        ("Unsupported image format", ()),
    ],
)
def test_a_refused_parameter_is_named_but_not_a_refused_value(
    error: object, parameters: tuple[str, ...]
) -> None:
    refusal = refused(400, {"detail" if isinstance(error, list) else "error": error})
    assert (refusal.kind, refusal.parameters) == ("bad_request", parameters)
    assert refusal.reason == ("parameter" if parameters else None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "a"}}, "a"),
        ({"error": "a"}, "a"),
        ({"message": "a"}, "a"),
        ({"detail": "a"}, "a"),
        ({"detail": [{"msg": "a"}, {"msg": "b"}]}, "a"),
        ({"detail": {"message": "a"}}, "a"),
        ({"errors": [{"message": "a"}]}, "a"),
        ([{"error": {"message": "a"}}], "a"),
        ({"error": {"message": "a", "metadata": {"raw": '{"error":{"message":"b"}}'}}}, "a: b"),
        ({"error": {"message": "a", "metadata": {"raw": "b"}}}, "a: b"),
        ({"error": {"message": "a", "metadata": {"raw": "<html>b"}}}, "a"),
        ({"object": "error", "message": {"detail": [{"msg": "a"}]}}, "a"),
        ({"error": {"message": '{"error": {"message": "a"}}'}}, "a"),
        ({"error": {"message": "{broken"}}, "{broken"),
        (b"[" * 400 + b"]" * 400, None),
        (b"plain words", "plain words"),
        (b"<!DOCTYPE html><p>x", None),
        (b"  <html>", None),
        (b"", None),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
        ({"error": {"message": "nul \x00 and \x1b[31m"}}, "nul  and [31m"),
        ({"error": {"message": "key sk-abcdef123456."}}, "key ***."),
        ({"error": {"message": "sent Bearer abcdefghijkl"}}, "sent Bearer ***"),
        ({"unknown": 1}, None),
        (7, None),
        ("a", "a"),
    ],
)
def test_the_gateways_own_words_are_found_and_safe_to_show(
    body: object, message: str | None
) -> None:
    assert refused(500, body).message == message


def test_a_message_is_bounded_and_the_key_is_gone_from_it() -> None:
    shown = presentable("secret-key " * 1000, "secret-key")
    assert shown is not None
    assert len(shown) == 500
    assert "secret" not in shown


def test_a_key_is_gone_also_where_the_bound_would_have_cut_it() -> None:
    shown = presentable("x" * 495 + "0123456789", "0123456789")
    assert shown == "x" * 495 + "***"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("Thu, 01 Jan 2026 00:00:09 GMT", 9),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e9", 86_400),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Thu, 01 Jan 9999 00:00:00 -2359", 86_400.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.binary(max_size=200), st.integers(300, 599))
def test_no_body_breaks_the_extractor(body: bytes, status: int) -> None:
    error = from_response(status, {}, body)
    assert len(error.message or "") <= 500


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: (
    st.lists(inner) | st.dictionaries(
        st.sampled_from(["error", "detail", "message", "code", "metadata", "raw", "loc"]), inner
    )
)))  # fmt: skip
def test_no_json_breaks_the_extractor(document: object) -> None:
    refused(400, document)


@pytest.mark.parametrize(
    ("error", "delay_s"),
    [
        (GatewayError("connection", reason="refused"), 0.5),
        (GatewayError("connection", reason="dropped"), 0.5),
        (GatewayError("connection", reason="tls"), None),
        (GatewayError("connection", reason="url"), None),
        (GatewayError("connection", reason="forbidden"), None),
        (GatewayError("timeout"), None),
        (GatewayError("auth", status=401), None),
        (GatewayError("rate_limit", status=429), None),
        (GatewayError("rate_limit", status=429, retry_after_s=7), 7),
        (GatewayError("rate_limit", status=429, retry_after_s=31), None),
        (GatewayError("server", status=500), None),
        (GatewayError("server", status=503), 0.5),
        (GatewayError("server", status=503, retry_after_s=3), 3),
        (GatewayError("protocol", status=200), None),
    ],
)
def test_only_what_may_pass_is_asked_again(error: GatewayError, delay_s: float | None) -> None:
    assert retry_delay_s(error, 1, 0.0) == delay_s


def test_there_are_three_attempts_within_thirty_seconds() -> None:
    error = GatewayError("connection", reason="refused")
    assert retry_delay_s(error, 2, 29.0) == 1.0
    assert retry_delay_s(error, 2, 29.5) is None
    assert retry_delay_s(error, 3, 0.0) is None
