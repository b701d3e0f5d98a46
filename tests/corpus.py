"""Hostile texts, requests and frames: what tests/test_corpus.py sends, and the fuzzers mutate."""

import json
from itertools import product
from urllib.parse import quote

# --- Markdown -----------------------------------------------------------------------------------

# Where a link may lead: nowhere that a page should follow, however it is written.
ADDRESSES = """\
javascript:alert(1)
JAVASCRIPT:alert(1)
jAvAsCrIpT&colon;alert(1)
javascript&#58;alert(1)
javascript&#x3A;alert(1)
&#106;&#97;vascript:alert(1)
&#x6a;avascript:alert(1)
java&Tab;script:alert(1)
java&NewLine;script:alert(1)
java%0ascript:alert(1)
javascript%3Aalert(1)
\x01javascript:alert(1)
\u00a0javascript:alert(1)
java\u200bscript:alert(1)
javascript\uff1aalert(1)
javascript://example.com/%0aalert(1)
feed:javascript:alert(1)
view-source:javascript:alert(1)
vbscript:msgbox(1)
data:text/html,<script>alert(1)</script>
data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==
data:image/svg+xml,<svg/onload=alert(1)>
data:image/svg+xml;base64,PHN2Zy9vbmxvYWQ9YWxlcnQoMSk+
data:,x
blob:http://a.b/c
filesystem:http://a.b/c
file:///etc/passwd
about:blank
intent://x#Intent;end
ms-word:ofe|u|http://a.b
tel:+100
sms:1
ftp://a.b/c
ws://a.b/c
//evil.example
///evil.example
\\\\evil.example
/\\evil.example
/logout/
/m/x/delete/
?compose
#composer
.
http:evil.example
http:/evil.example
http:///evil.example
https:\\\\evil.example
http://user@evil.example
http://user:word@evil.example
http://good.example@evil.example/
http://good.example%40evil.example/
http://evil.example\u2044good.example
http://[::1]:x/
http://a.b/"onmouseover="alert(1)
http://a.b/'onmouseover='alert(1)
http://a.b/`onmouseover=alert(1)
http://a.b/<script>
http://a.b/\u202ecod.exe
http://xn--a\u200d.example/
mailto:a@b.c?subject="><script>
mailto:"onclick=alert(1)"@b.c
""".splitlines()
PLACES = [
    "[x]({})",
    "[x](<{}>)",
    '[x]({} "title")',
    "![x]({})",
    "![](<{}>)",
    "<{}>",
    "[x][r]\n\n[r]: {}",
    "[x][r]\n\n[r]: <{}> 'a\"b'",
    "[![x]({0})]({0})",
    '<a href="{}">x</a>',
    "- [ ] | [x]({}) |\n",
    "| a |\n|---|\n| [x]({}) |",
    "$\\href{{{}}}{{x}}$",
    "text {} text",
]
# What tries to be an element, or part of one, of the page around it.
ELEMENTS = """\
<img src=x onerror=alert(1)>
<img/src=x/onerror=alert(1)>
<img src=x onerror=alert(1)//
<svg/onload=alert(1)>
<math><mi//xlink:href="data:x,<script>alert(1)</script>">
<p hx-get=/x hx-trigger=load>
<p data-hx-post=/settings/log-out/ data-hx-trigger=load>
<p hx-on::load=alert(1)>
<p hx-vals=js:{a:alert(1)}>
<form hx-ws="connect:/ws/"><input name=csrfmiddlewaretoken>
<div hx-swap-oob="innerHTML:#composer">x</div>
<b id=title name=text class=toast style=position:fixed>x</b>
<article data-message=x data-status=complete>x</article>
<conversation-list></conversation-list>
<template shadowrootmode=open><script>alert(1)</script></template>
<meta http-equiv=refresh content=0;url=//evil.example>
<base href=//evil.example>
<link rel=stylesheet href=//evil.example>
<style>*{background:url(//evil.example)}</style>
<iframe srcdoc="<script>alert(1)</script>">
<form action=//evil.example><button>x
<input type=hidden name=text form=composer value=x>
<button form=composer formaction=//evil.example>x</button>
<a href=http://a.b target=_top ping=//evil.example download>x</a>
<x onclick=alert(1) contenteditable autofocus onfocus=alert(1) tabindex=0>
</div></article><script>alert(1)</script>
--><script>alert(1)</script><!--
]]><script>alert(1)</script>
<![endif]--><script>alert(1)</script>
<ſcript>alert(1)</ſcript>
<scr\0ipt>alert(1)</scr\0ipt>
\ufdd0<script>alert(1)</script>
""".splitlines()
AROUND = ["{}", "a {} b", "> {}", "- {}", "# {}", "`` {} ``", "```{}\n{}\n```", "    {}", "**{}**"]
AROUND += ["| a |\n|---|\n| {} |", "[{}](http://a.b)", '[x](http://a.b "{}")', "$\\text{{{}}}$"]

MARKDOWN = [
    *(place.format(address) for place, address in product(PLACES, ADDRESSES)),
    *(around.format(element, element) for around, element in product(AROUND, ELEMENTS)),
]

# --- words in fields, queries, addresses and headers ----------------------------------------------

WORDS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nSet-Cookie: a=b",
    "\u2028\u2029\u0085",
    "\u202eevil\u2066",
    "\ufeff\ufffe\uffff",
    "\ud800",
    "🙂" * 300,
    "a" * 70_000,
    "9" * 5000,
    "-1",
    "1e999",
    "NaN",
    "0x10",
    "٣",
    "None",
    "true",
    "[]",
    "{}",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%ff%fe",
    "%",
    "' OR 1=1 --",
    '"; DROP TABLE chat_user; --',
    "{{ 7*7 }}{% debug %}",
    "${7*7}",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "//evil.example",
    "http://evil.example/",
    "=cmd|'/c calc'!A0",
    '" NEAR("a" "b", 9) *',
    "a* OR b^ (c:d) -e",
    "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
    "00000000000000000000000000000000",
    "９" * 3,
]


def encoded(word: str) -> str:
    """As a browser would send it in a form or a query, a lone surrogate as its three bytes."""
    return quote(word.encode("utf-8", "surrogatepass"), safe="")


# Bodies that no form of ours makes, with what they are called.
BODIES = [
    (b"", ""),
    (b"", "application/x-www-form-urlencoded"),
    (b"&&&===&", "application/x-www-form-urlencoded"),
    (b"text", "application/x-www-form-urlencoded"),
    (b"text=%ff%fe%00&text=b&text=c", "application/x-www-form-urlencoded"),
    (b"text=\xff\xfe", "application/x-www-form-urlencoded; charset=utf-16"),
    (b"text=a", "application/x-www-form-urlencoded; charset=nonsense"),
    (b"text=a", "text/plain"),
    (b'{"text": "a"}', "application/json"),
    (b"\x1f\x8b\x08\x00", "application/gzip"),
    (b"text=a", "multipart/form-data"),
    (b"text=a", "multipart/form-data; boundary="),
    (b"text=a", "multipart/form-data; boundary=" + "b" * 500),
    (b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\na', "multipart/form-data; boundary=b"),
    (
        b'--b\r\nContent-Disposition: form-data; name="text"; filename="../../a"\r\n\r\na\r\n--b--',
        "multipart/form-data; boundary=b",
    ),
    (
        b'--b\r\nContent-Disposition: form-data; name="text"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n%%%\r\n--b--",
        "multipart/form-data; boundary=b",
    ),
    (b"a=b&" * 1500, "application/x-www-form-urlencoded"),
    (b"%s=b" % (b"a" * 5000), "application/x-www-form-urlencoded"),
]  # fmt: skip

# --- frames of the socket -------------------------------------------------------------------------

_VALUES = [
    None,
    True,
    -1,
    0,
    1.5,
    2**63,
    10**30,
    "",
    "x",
    "\0",
    "\ud800",
    [],
    [1],
    {},
    {"a": 1},
    "9" * 200,
]
_FIELDS = [
    "conversation",
    "version",
    "sidebar",
    "cursors",
    "first",
    "last",
    "language",
    "zone",
    "protocol",
]
FRAMES: list[str | bytes] = [
    "",
    " ",
    "null",
    "true",
    "0",
    '"watch"',
    "[]",
    "[1]",
    "{}",
    "{",
    "}",
    '{"watch"',
    '{"watch":}',
    "{'watch': {}}",
    "\ufeff{}",
    "NaN",
    '{"ack": NaN}',
    '{"ack": Infinity}',
    '{"ack": 1e999}',
    '{"ack": -0}',
    '{"ack": ' + "9" * 5000 + "}",
    '{"watch": {}, "watch": 1}',
    '{"watch": {"version": 0, "version": "x"}}',
    "[" * 5000,
    '{"a":' * 3000,
    '{"watch":' * 1500 + "1" + "}" * 1500,
    b"",
    b"\xff\xfe",
    b'{"ack": 1}',
    b"\0" * 100,
    '{"hello": {"protocol": 3}}',
    '{"ops": [["article", "x", 1, null, "<script>"]]}',
    '{"__proto__": {"ack": 1}}',
    '{"type": "websocket.close"}',
    *(json.dumps({"ack": value}) for value in _VALUES),
    *(json.dumps({"watch": value}) for value in _VALUES),
    *(json.dumps({"watch": {name: value}}) for name in _FIELDS for value in _VALUES),
    *(json.dumps({"watch": {"cursors": {key: [1, 2, 3]}}}) for key in ("", "x", "\0", "\ud800")),
    *(json.dumps({"watch": {"cursors": {"x": [value, 0, 0]}}}) for value in _VALUES),
    json.dumps({"watch": {"cursors": {str(n): [0, 0, 0] for n in range(101)}}}),
]
