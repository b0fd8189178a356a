"""Bodies of `POST /v1/classify` that somebody will send, each with the answer it deserves.

And texts that command a terminal.
"""

from typing import NamedTuple


class Nasty(NamedTuple):
    """A body, the status of the answer, and what its `detail` must say."""

    name: str
    body: bytes
    status: int
    says: str


def fill(head: bytes, unit: bytes, tail: bytes, size: int = 1_000_000) -> bytes:
    """`head`, as many `unit` as fit into `size` bytes, `tail`."""
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


_HELLO = '{"inputs": "hello"}'
_SYNTAX = "the body is not JSON in UTF-8: "
_PAIR = "holds half a surrogate pair"

# 400: no I-JSON (RFC 7493), or none that every reader understands alike.
MALFORMED = [
    Nasty("empty", b"", 400, _SYNTAX + "it is empty"),
    Nasty("white space", b" \n", 400, _SYNTAX + "Expecting value at line 2, column 1"),
    Nasty("open brace", b"{", 400, "at line 1, column 2"),
    Nasty("trailing text", b'{"inputs": "a"} trailing', 400, "Extra data at line 1, column 17"),
    Nasty("trailing comma", b'{"inputs": "a",}', 400, "at line 1, column"),
    Nasty("two bodies", b'{"inputs": "a"}{"inputs": "b"}', 400, "Extra data"),
    Nasty("single quotes", b"{'inputs': 'a'}", 400, "at line 1, column 2"),
    Nasty("comment", b'{"inputs": "a"} // hello', 400, "Extra data"),
    Nasty("no closing quote", b'{"inputs": "a}', 400, "Unterminated string"),
    Nasty("line break in a string", b'{"inputs": "a\nb"}', 400, "control character at line 1"),
    Nasty("raw NUL in a string", b'{"inputs": "a\0b"}', 400, "control character"),
    Nasty("wrong escape", rb'{"inputs": "a\xb"}', 400, "Invalid \\escape"),
    Nasty("half an escape", rb'{"inputs": "\u12"}', 400, "escape"),
    Nasty("bad UTF-8", b'{"inputs": "\xff\xfe"}', 400, _SYNTAX + "byte 12 is no UTF-8"),
    Nasty("cut UTF-8", '{"inputs": "é"}'.encode()[:13], 400, "is no UTF-8"),
    Nasty("overlong UTF-8", b'{"inputs": "\xc0\xaf"}', 400, "is no UTF-8"),
    Nasty("Latin-1", '{"inputs": "é"}'.encode("latin-1"), 400, "is no UTF-8"),
    Nasty("UTF-8 with BOM", _HELLO.encode("utf-8-sig"), 400, "utf-8-sig"),
    Nasty("UTF-16", _HELLO.encode("utf-16"), 400, "utf-16"),
    Nasty("UTF-16 LE, no BOM", _HELLO.encode("utf-16-le"), 400, "utf-16-le"),
    Nasty("UTF-16 BE, no BOM", _HELLO.encode("utf-16-be"), 400, "utf-16-be"),
    Nasty("UTF-32", _HELLO.encode("utf-32"), 400, "utf-32"),
    Nasty("UTF-32 LE, no BOM", _HELLO.encode("utf-32-le"), 400, "utf-32-le"),
    Nasty("raw surrogate", b'{"inputs": "\xed\xa0\x80"}', 400, "is no UTF-8"),
    Nasty("lone surrogate", rb'{"inputs": "\ud800"}', 400, f"inputs: {_PAIR}"),
    Nasty("pair the wrong way", rb'{"inputs": ["a", "\uDE00\uD83D"]}', 400, f"inputs[1]: {_PAIR}"),
    Nasty("lone surrogate, second", rb'{"inputs": ["a", "\udc00 b"]}', 400, f"inputs[1]: {_PAIR}"),
    Nasty("lone surrogate, model", rb'{"inputs": "a", "model": "\ud800"}', 400, f"model: {_PAIR}"),
    Nasty("lone surrogate, version", rb'{"inputs": "a", "version": "\ud800"}', 400, "version: "),
    Nasty("lone surrogate, explain", rb'{"inputs": "a", "explain": "\ud800"}', 400, "explain: "),
    Nasty("lone surrogate, name", rb'{"inputs": "a", "\ud800": 1}', 400, _PAIR),
    Nasty("NaN", b'{"inputs": NaN}', 400, "NaN"),
    Nasty("NaN for a number", b'{"inputs": "a", "top_k": NaN}', 400, "NaN"),
    Nasty("Infinity", b'{"inputs": "a", "top_k": -Infinity}', 400, "Infinity"),
    Nasty("1e999", b'{"inputs": "a", "top_k": 1e999}', 400, "beyond the range of a double"),
    Nasty("5,000 digits", b'{"inputs": "a", "top_k": %s}' % (b"9" * 5000), 400, "too many digits"),
    Nasty("a name twice", b'{"inputs": "a", "inputs": "b"}', 400, "the same name twice"),
    Nasty("a name twice, escaped", rb'{"inputs": "a", "\u0069nputs": "b"}', 400, "the same name"),
    Nasty("a name twice, inside", b'{"inputs": {"a": 1, "a": 1}}', 400, "the same name twice"),
    Nasty("an unknown name twice", b'{"inputs": "a", "x": 1, "x": 2}', 400, "the same name twice"),
    Nasty(
        "a name 1,000 times", fill(b"{", b'"a":1,', b'"a":1}', 6_000), 400, "the same name twice"
    ),
    Nasty("arrays 4,000 deep", b"[" * 4_000, 400, "nested too deep"),
    Nasty("arrays 4,000 deep, closed", b"[" * 4_000 + b"]" * 4_000, 400, "nested too deep"),
    Nasty("objects 2,000 deep", b'{"a":' * 2_000, 400, "nested too deep"),
    Nasty("text 8,000 deep", b'{"inputs":' + b"[" * 8_000, 400, "nested too deep"),
    Nasty("form", b"inputs=hello", 400, "Expecting value at line 1, column 1"),
]

_STRING = "Input should be a valid string"
_OUTSIDE = "body: has more than 8256 bytes outside of its strings"

# 422: JSON, but nothing that can be classified; or so much outside of strings that nobody looked.
INVALID = [
    Nasty("null", b"null", 422, "body: must be an object"),
    Nasty("array", b'["a"]', 422, "body: must be an object"),
    Nasty("string", b'"a"', 422, "body: must be an object"),
    Nasty("number", b"1", 422, "body: must be an object"),
    Nasty("nothing in it", b"{}", 422, "inputs: Field required"),
    Nasty("no text", b'{"inputs": []}', 422, "inputs: "),
    Nasty("empty name", b'{"inputs": "a", "": 1}', 422, "unknown field; known: inputs, model"),
    Nasty("prototype", b'{"inputs": "a", "__proto__": {}}', 422, "body: has an unknown field"),
    Nasty("deep", b'{"inputs": [[[[[[["a"]]]]]]]}', 422, f"inputs[0]: {_STRING}"),
    Nasty("NUL", rb'{"inputs": ["a", "b\u0000c"]}', 422, "inputs[1]: holds a NUL character"),
    Nasty("spaces", b'{"inputs": " \\n\\t "}', 422, "inputs: is empty"),
    Nasty("object", b'{"inputs": {"text": "a"}}', 422, f"inputs: {_STRING}"),
    Nasty("large object", b'{"inputs": {"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}}', 422, "unknown"),
    Nasty("numbers", fill(b'{"inputs":[1', b",1", b"]}", 8_000), 422, f"inputs[0]: {_STRING}"),
    Nasty("empty arrays", fill(b'{"inputs":["a"', b",[]", b"]}", 8_000), 422, _STRING),
    Nasty("empty objects", fill(b'{"inputs":["a"', b",{}", b"]}", 8_000), 422, _STRING),
    Nasty("many texts", fill(b'{"inputs":["a"', b',"b"', b"]}", 8_000), 422, "texts, at most 64"),
    Nasty(
        "1,000 names",
        b"{%s}" % b",".join(b'"%d":1' % number for number in range(1_000)),
        422,
        "body: has an unknown field",
    ),
    Nasty("a million digits", fill(b'{"inputs":', b"9", b"}"), 422, _OUTSIDE),
    Nasty("a million numbers", fill(b'{"inputs":[1', b",1", b"]}"), 422, _OUTSIDE),
    Nasty("a million arrays", fill(b'{"inputs":["a"', b",[]", b"]}"), 422, _OUTSIDE),
    Nasty("a million objects", fill(b'{"inputs":["a"', b",{}", b"]}"), 422, _OUTSIDE),
    Nasty("a million texts", fill(b'{"inputs":["a"', b',"b"', b"]}"), 422, _OUTSIDE),
    Nasty("a million names", fill(b"{", b'"a":1,', b'"a":1}'), 422, _OUTSIDE),
    Nasty("arrays a million deep", b"[" * 1_000_000, 422, _OUTSIDE),
    Nasty("objects a million deep", fill(b"", b'{"a":', b""), 422, _OUTSIDE),
    Nasty("commas", b"," * 1_000_000, 422, _OUTSIDE),
    Nasty("NUL bytes", b"\0" * 1_000_000, 422, _OUTSIDE),
    Nasty("long text", fill(b'{"inputs":"', b"a", b'"}'), 422, "characters, at most 20000"),
    Nasty("escapes", fill(b'{"inputs":"', rb"\u4e00", b'"}'), 422, "characters, at most 20000"),
    Nasty("quotes", fill(b'{"inputs":"', rb"\"", b'"}'), 422, "characters, at most 20000"),
    Nasty("zero", b'{"inputs": "a", "top_k": 0}', 422, "top_k: "),
    Nasty("minus", b'{"inputs": "a", "top_k": -1}', 422, "top_k: "),
    Nasty("fraction", b'{"inputs": "a", "top_k": 1.5}', 422, "top_k: "),
    Nasty("a small number", b'{"inputs": "a", "top_k": 1e-999}', 422, "top_k: "),
    Nasty("number as text", b'{"inputs": "a", "top_k": "1"}', 422, "top_k: "),
    Nasty("true", b'{"inputs": "a", "top_k": true}', 422, "top_k: "),
    Nasty("another form", b'{"inputs": "a", "explain": "lime"}', 422, "explain: "),
]
NASTY = MALFORMED + INVALID

COMMANDS = [
    "\x1b[31m",  # colour
    "\x1b[2J\x1b[H",  # clear
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJm\x07",  # the clipboard
    "\x9b31m",  # C1: the same without ESC
    "\x9d0;title\x9c",
    "\rheed: all is well",
    "\b\b\b",
    "\x7f",
    "\nheed: a line of its own",
    "\x0b\x0c\x85\u2028\u2029",
    "\u202etxt.exe\u202c",
    "\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "\ud800",
    "\udcff",  # a byte of a path that is no UTF-8
    "\ufeff",
]
