"""The code inside a tool call's arguments, from fragments cut anywhere (PROTOCOL.md 3.1, 3.2).

The first character that is not white space decides the form:

    {    a JSON object: the string (or list of lines) under a code key, exactly as it stands
    "    a JSON string: its contents, which may again be any form; ``\"\"\"`` is Python
    ```  fenced code; fenced JSON may again be any form
    else bare Python

An object without code may hold the arguments under another key, as an object or as a text of JSON.

An object whose text is no JSON in the end may still be Python: a dict literal that holds the code, or a set or dict
that is the code. That is known, and returned, only by ``flush``.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.extraction.fence import FenceReader, SnippetEvent, SnippetStart, SnippetText, first_word
from app.extraction.json_object import JsonObject, Key, ObjectEvent, Text, TextEnd
from app.extraction.json_string import JsonString
from app.extraction.names import canonical_language

#: Names of the argument that holds the code, best first.
CODE_KEYS = ("code", "source", "input", "script", "python_code", "query", "content")
#: Keys that hold nothing else: their text is code at once. The others wait to see whether a better key comes.
_CERTAIN_KEYS = frozenset({"code", "source", "script", "python_code"})
_LANGUAGE_KEYS = frozenset({"language", "lang"})
#: Names of arguments that hold the arguments (a call in a call, as some templates and proxies write it).
_WRAPPERS = ("arguments", "parameters", "args", "kwargs", "params", "tool_input", "input", "function")
#: Languages of a fence that holds arguments, and not code.
_JSON_FENCES = frozenset({"", "json", "jsonc", "json5", "tool_call"})
#: Longest object that is parsed anew: it blocks the loop (some 10 ns a character).
_MAX_PARSED_CHARS = 1_000_000
#: JSON strings in JSON strings.
_MAX_NESTING = 3
#: White space before the arguments; more than this is taken for Python.
_MAX_HEAD_CHARS = 1000
#: Longest text tried as a Python literal: parsing blocks the loop (some 0.5 us a character).
_MAX_LITERAL_CHARS = 20_000


def code_key(schema: Mapping[str, Any]) -> str | None:
    """The argument that holds the code, as the JSON schema of a tool's parameters tells: the best of the usual names,
    or else the only text (the only one that is required). None if it does not tell."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return None
    texts = [name for name, property in properties.items() if name not in _LANGUAGE_KEYS and _is_text(property)]
    usual = next((key for key in CODE_KEYS if key in texts), None)
    if usual is not None:
        return usual
    required = schema.get("required")
    needed = [name for name in texts if name in required] if isinstance(required, list) else []
    return texts[0] if len(texts) == 1 else needed[0] if len(needed) == 1 else None


def _is_text(property: Any) -> bool:
    """Whether a schema takes any text at all; one that says nothing does."""
    if not isinstance(property, Mapping) or "enum" in property or "const" in property:
        return False
    choices = property.get("anyOf") or property.get("oneOf")
    if isinstance(choices, list):
        return any(_is_text(choice) for choice in choices)
    kind = property.get("type", "string")
    return kind == "string" or (isinstance(kind, list) and "string" in kind)


class _ArgumentsForm(Protocol):
    @property
    def language(self) -> str | None: ...

    @property
    def complete(self) -> bool: ...

    @property
    def failed(self) -> bool: ...

    def feed(self, text: str) -> str: ...

    def flush(self) -> str: ...


class CodeArguments:
    """``feed`` and ``flush`` return the characters of code they made available.

    ``keys`` are the names of the argument with the code, best first: the text of the first one is code at once.
    ``language`` is canonical, or None while nothing names one. ``complete`` says that the code is all there and only
    ``flush`` is left to do; ``failed``, after ``flush``, that the arguments hold no code.
    """

    def __init__(self, keys: Sequence[str] = CODE_KEYS, *, _nesting: int = 0) -> None:
        self._keys = tuple(keys)
        self._nesting = _nesting
        self._head = ""
        self._form: _ArgumentsForm | None = None

    def __repr__(self) -> str:
        return f"<CodeArguments form={type(self._form).__name__} complete={self.complete}>"

    @property
    def language(self) -> str | None:
        return self._form.language if self._form is not None else None

    @property
    def complete(self) -> bool:
        return self._form is not None and self._form.complete

    @property
    def failed(self) -> bool:
        return self._form is not None and self._form.failed

    def feed(self, text: str) -> str:
        if self._form is not None:
            return self._form.feed(text)
        self._head += text
        return self._decide(final=False)

    def flush(self) -> str:
        code = "" if self._form is not None else self._decide(final=True)
        return code + self._form.flush() if self._form is not None else code

    def _decide(self, *, final: bool) -> str:
        start = self._head.lstrip()
        if start in ("", '"', '""', "`", "``") and len(self._head) < _MAX_HEAD_CHARS and not final:
            return ""
        if start.startswith("{"):
            self._form = _Object(self._keys, self._nesting)
        elif start.startswith('"') and not start.startswith('"""') and self._nesting < _MAX_NESTING:
            self._form = _String(CodeArguments(self._keys, _nesting=self._nesting + 1))
        elif start.startswith("```"):
            self._form = _Fenced(self._keys, self._nesting)
        else:
            self._form = _Bare()
            start = self._head
        self._head = ""
        return self._form.feed(start)


class _Bare:
    """The text is the code."""

    language: str | None = None
    complete = False
    failed = False

    def feed(self, text: str) -> str:
        return text

    def flush(self) -> str:
        return ""


class _Fenced:
    """The code of all fenced blocks; without a language they are Python here, unless they hold arguments."""

    def __init__(self, keys: tuple[str, ...], nesting: int) -> None:
        self.complete = False
        self.failed = False
        self._language: str | None = None
        self._reader = FenceReader(first_word)
        #: Reads blocks that may hold arguments, once there is one.
        self._inner: CodeArguments | None = None
        self._arguments = CodeArguments(keys, _nesting=nesting + 1) if nesting < _MAX_NESTING else None

    @property
    def language(self) -> str | None:
        if self._inner is None:
            return self._language
        return self._inner.language or ("python" if self._language == "python" else None)

    def feed(self, text: str) -> str:
        return self._code(self._reader.feed(text))

    def flush(self) -> str:
        code = self._code(self._reader.flush())
        if self._inner is not None:
            code += self._inner.flush()
        self.failed = self._language is None or (self._inner is not None and self._inner.failed)
        return code

    def _code(self, events: Sequence[SnippetEvent]) -> str:
        texts = []
        for event in events:
            match event:
                case SnippetStart(name) if self._language is None:
                    self._language = canonical_language(name)
                    self._inner = self._arguments if name in _JSON_FENCES else None
                case SnippetText(text):
                    texts.append(text if self._inner is None else self._inner.feed(text))
        return "".join(texts)


class _String:
    """A JSON string. Until its first newline the code is kept back: ``"a".upper()`` is Python and no JSON string, which
    shows behind the closing quote. A line that is not over could not run anyway."""

    def __init__(self, contents: CodeArguments) -> None:
        self._contents = contents
        self._string = JsonString()
        self._raw: list[str] = []
        self._first_line: list[str] = []
        self._handed_on = False
        self._is_python = False

    @property
    def language(self) -> str | None:
        return self._contents.language

    @property
    def complete(self) -> bool:
        return self._handed_on and self._string.closed and not self._is_python

    @property
    def failed(self) -> bool:
        return self._contents.failed and not self._is_python

    def feed(self, text: str) -> str:
        opening = not self._raw and not self._handed_on
        if not self._handed_on:
            self._raw.append(text)
        if self._is_python:
            return text
        end = 0
        if not self._string.closed:
            decoded, end = self._string.feed(text, start=int(opening))
            code = self._contents.feed(decoded)
            if self._handed_on:
                return code
            self._first_line.append(code)
        if self._handed_on:
            return ""
        if "\n" in self._first_line[-1]:
            self._handed_on = True
            return "".join(self._first_line)
        if self._string.closed and text[end:].strip():
            self._is_python = self._handed_on = True
            return "".join(self._raw)
        return ""

    def flush(self) -> str:
        if self._is_python:
            return ""
        code = self._contents.feed(self._string.flush()) + self._contents.flush()
        return code if self._handed_on else "".join(self._first_line) + code


class _Object:
    """A JSON object. The text of a key that can only be code is handed on as it comes; of the others, the best one is
    known when the object is over."""

    def __init__(self, keys: tuple[str, ...], nesting: int) -> None:
        self.language: str | None = None
        self.complete = False
        self.failed = False
        self._keys = keys
        self._nesting = nesting
        self._streamed = {key for key in keys if key == keys[0] or key in _CERTAIN_KEYS}
        self._object = JsonObject()
        self._raw: list[str] = []
        self._texts: dict[str, list[str]] = {}
        self._code_key: str | None = None
        self._code_ended = False

    def feed(self, text: str) -> str:
        opening = not self._raw
        if opening or self._code_key is None:
            self._raw.append(text)
        code = self._code(self._object.feed(text[1:] if opening else text))
        if self._object.closed and (self._code_ended or not self._texts.keys().isdisjoint(self._keys)):
            self.complete = True
        return code

    def flush(self) -> str:
        code = self._code(self._object.flush())
        if self._code_key is not None:
            return code
        if self._object.broken or self._object.trailing:
            python = _as_python("".join(self._raw), self._keys)
            if python is not None:
                return python
        texts = {key: "".join(parts) for key, parts in self._texts.items() if key not in _LANGUAGE_KEYS}
        for key in self._keys:
            if key in texts:
                return texts[key]
        if (inner := self._unwrapped()) is not None:
            return inner
        if len(texts) == 1:
            return next(iter(texts.values()))
        self.failed = True
        return ""

    def _unwrapped(self) -> str | None:
        """The code in arguments that this object holds as an object, or as a text; None if it holds none."""
        raw = "".join(self._raw)
        if self._nesting >= _MAX_NESTING or len(raw) > _MAX_PARSED_CHARS:
            return None
        document = _as_object(raw) or _as_object(raw + "}")  # the last brace may be missing
        for key in _WRAPPERS:
            value = document.get(key)
            if not isinstance(value, dict) and not (isinstance(value, str) and value.lstrip().startswith("{")):
                continue
            arguments = CodeArguments(self._keys, _nesting=self._nesting + 1)
            code = arguments.feed(value if isinstance(value, str) else json.dumps(value)) + arguments.flush()
            if code and not arguments.failed:
                self.language = arguments.language or self.language
                return code
        return None

    def _code(self, events: Sequence[ObjectEvent]) -> str:
        code: list[str] = []
        for event in events:
            if self._code_key is None and event.key in self._streamed and not isinstance(event, Key):
                self._code_key = event.key
            is_code = event.key == self._code_key
            match event:
                case Text(_, text) if is_code:
                    if not self._code_ended:  # the key may come twice
                        code.append(text)
                case Text(key, text):
                    self._texts.setdefault(key, []).append(text)
                case TextEnd() if is_code:
                    self._code_ended = True
                case TextEnd(key) if key in _LANGUAGE_KEYS:
                    self.language = canonical_language("".join(self._texts.get(key, ())))
                case Key(key) if self._code_ended and key not in _LANGUAGE_KEYS:
                    self.complete = True  # nothing but a language could still matter
        return "".join(code)


def _as_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _as_python(text: str, keys: Sequence[str]) -> str | None:
    """The code in text that looks like a JSON object and is none: a dict literal that holds it, or Python itself."""
    if len(text) > _MAX_LITERAL_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the model's escapes are its own
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    value: Any = None
    if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        try:
            value = ast.literal_eval(tree.body[0].value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            return text
    if isinstance(value, dict):
        for key in keys:
            if isinstance(value.get(key), str):
                return str(value[key])
    return text
