"""The words of the commands: one table for parsing, formatting, help and documents.

A :class:`Syntax` says how a command is spelled: its words, its positional
arguments, its options. The socket parses words into commands with it, the
socket client formats commands into words with it, the embedded client checks
the commands it built with it, and the documents and tests are held to it. The
command line spells the same words its own way: ``IFEMPTY`` is ``--if-empty``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import names
from ..errors import Invalid


class Kind(NamedTuple):
    """One kind of argument.

    Attributes:
        name: how documents call it.
        read: the value a word of the wire stands for.
        write: the word of a value, so that ``read(write(v)) == v``.
        check: returns an allowed value, raises Invalid or TooBig for another.
    """

    name: str
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    check: Callable[[Any], Any]


class Argument(NamedTuple):
    """A positional argument; a repeated one takes one word or more and comes last."""

    field: str
    kind: Kind
    repeated: bool = False


class Option(NamedTuple):
    """An option: a word, followed by its value unless it is a flag (``kind`` None)."""

    word: str
    field: str
    kind: Kind | None
    summary: str


class Setting(NamedTuple):
    """A ``name=value`` word of CREATE and SET."""

    name: str
    read: Callable[[str], Any]
    summary: str
    default: str


class Syntax(NamedTuple):
    """How one command is spelled and what it answers.

    Attributes:
        words: the command's words, as ``("QUEUE", "SEND")``.
        command: the NamedTuple it builds.
        arguments: what follows, by position.
        options: what follows those, in any order.
        settings: the ``name=value`` words it takes, into the field ``settings``.
        result: ``ok``, ``count``, ``id``, ``sent``, ``record``, ``records``, ``maybe``
            (a record or null), ``pulled`` (that without COUNT, records with it) or
            ``outcomes`` (for each repeated argument ``ok`` or its error).
        record: the NamedTuple of the records, where the result has some.
        summary: one sentence.
        creates: whether it makes a database that is not there.
        reads: whether it changes nothing.
    """

    words: tuple[str, ...]
    command: type
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]
    result: str
    summary: str
    record: type | None = None
    settings: tuple[Setting, ...] = ()
    creates: bool = False
    reads: bool = False

    @property
    def usage(self) -> str:
        """The command as a line of help, ``QUEUE DELETE name [IFEMPTY] [IFEXISTS]``."""
        parts = list(self.words)
        parts += [a.field.rstrip("s") + " ..." if a.repeated else a.field for a in self.arguments]
        parts += ["[name=value ...]"] if self.settings else []
        parts += [f"[{o.word} {o.kind.name}]" if o.kind else f"[{o.word}]" for o in self.options]
        return " ".join(parts)


def parse(syntax: Syntax, words: Sequence[bytes]) -> Any:
    """Return the command that ``words`` (those after the command's own) spell.

    Raises:
        Invalid: wrong arity, an unknown option or setting, a value not allowed.
    """
    values: dict[str, Any] = {}
    arguments = syntax.arguments
    position = 0
    total = len(words)
    for argument in arguments:
        if position >= total:
            raise Invalid(f"wrong number of arguments: {syntax.usage}")
        if argument.repeated:
            end = _end_of_repeated(syntax, words, position)
            _check_count(argument, end - position)
            kind = argument.kind
            values[argument.field] = tuple(
                kind.check(kind.read(word)) for word in words[position:end]
            )
            position = end
        else:
            values[argument.field] = argument.kind.check(argument.kind.read(words[position]))
            position += 1
    if position < total:
        _parse_options(syntax, words, position, values)
    return syntax.command(**values)


def _end_of_repeated(syntax: Syntax, words: Sequence[bytes], start: int) -> int:
    """Return where a repeated argument ends: at the first option word after its first."""
    option_words = {option.word.encode() for option in syntax.options}
    end = start + 1
    while end < len(words) and words[end].upper() not in option_words:
        end += 1
    return end


def _check_count(argument: Argument, count: int) -> None:
    """Refuse none, or more than one command may do at once."""
    if not 0 < count <= names.MAX_REPEATED:
        what = argument.field.rstrip("s")
        raise Invalid(f"1 to {names.MAX_REPEATED} of {what} in one command, not {count}")


def _parse_options(
    syntax: Syntax, words: Sequence[bytes], position: int, values: dict[str, Any]
) -> None:
    settings: list[tuple[str, str]] = []
    while position < len(words):
        word = words[position]
        position += 1
        option = _find_option(syntax, word)
        if option is None:
            settings.append(_read_setting(syntax, word))
            continue
        if option.field in values:
            raise Invalid(f"{option.word} is given twice")
        if option.kind is None:
            values[option.field] = True
            continue
        if position == len(words):
            raise Invalid(f"{option.word} wants a value: {syntax.usage}")
        values[option.field] = option.kind.check(option.kind.read(words[position]))
        position += 1
    if settings:
        values["settings"] = check_settings(syntax, tuple(settings))


def _find_option(syntax: Syntax, word: bytes) -> Option | None:
    upper = word.upper()
    for option in syntax.options:
        if option.word.encode() == upper:
            return option
    return None


def _read_setting(syntax: Syntax, word: bytes) -> tuple[str, str]:
    name, equals, value = read_text(word).partition("=")
    if not equals or not syntax.settings:
        known = [option.word for option in syntax.options]
        raise Invalid(f"unknown option {word[:40]!a}{nearest(read_text(word).upper(), known)}")
    return name, value


def check(syntax: Syntax, command: Any) -> None:
    """Refuse a command whose fields hold what its syntax does not allow.

    For doors that build commands themselves; what :func:`parse` returns is checked.

    Raises:
        Invalid, TooBig: as the fields' kinds say.
    """
    for argument in syntax.arguments:
        value = getattr(command, argument.field)
        if argument.repeated:
            _check_count(argument, len(value))
            for item in value:
                argument.kind.check(item)
        else:
            argument.kind.check(value)
    defaults = getattr(syntax.command, "_field_defaults", {})
    for option in syntax.options:
        value = getattr(command, option.field)
        # None is "not given" only where that is what leaving it out means.
        absent = value is None and defaults.get(option.field) is None
        if option.kind is not None and not absent:
            option.kind.check(value)
    if syntax.settings:
        check_settings(syntax, command.settings)


def check_settings(
    syntax: Syntax, settings: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Return ``settings`` if each is known, given once, and has an allowed value."""
    read_settings(syntax.settings, settings)
    return settings


def read_settings(
    known: tuple[Setting, ...], settings: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    """Return the values of ``settings`` by name.

    Raises:
        Invalid: unknown (the nearest is named), given twice, or a value not allowed.
    """
    values: dict[str, Any] = {}
    by_name = {setting.name: setting for setting in known}
    for name, value in settings:
        setting = by_name.get(name)
        if setting is None:
            raise Invalid(f"unknown setting {name[:40]!a}{nearest(name, list(by_name))}")
        if name in values:
            raise Invalid(f"the setting {name!r} is given twice")
        values[name] = setting.read(value)
    return values


def words_of(syntax: Syntax, command: Any) -> list[bytes]:
    """Return the words of ``command``, those that :func:`parse` reads, led by its own."""
    words = [word.encode() for word in syntax.words]
    for argument in syntax.arguments:
        value = getattr(command, argument.field)
        if argument.repeated:
            words += [argument.kind.write(item) for item in value]
        else:
            words.append(argument.kind.write(value))
    if syntax.settings:
        words += [f"{name}={value}".encode() for name, value in command.settings]
    defaults = getattr(syntax.command, "_field_defaults", {})
    for option in syntax.options:
        value = getattr(command, option.field)
        if value == defaults.get(option.field) or value is None:
            continue
        words.append(option.word.encode())
        if option.kind is not None:
            words.append(option.kind.write(value))
    return words


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean X?`` or what there is, to end an error text with."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {' '.join(known)}" if known else ""


# --- the kinds -----------------------------------------------------------------


def read_text(word: bytes) -> str:
    """Return a word of the wire as text; Invalid where it is not UTF-8."""
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise Invalid(f"not valid UTF-8: {word[:40]!a}") from None


def read_integer(word: bytes) -> int:
    """Return a word of the wire as an integer; Invalid where it is none."""
    digits = word[1:] if word[:1] == b"-" else word
    if not digits.isdigit() or len(digits) > 19:
        raise Invalid(f"not a whole number: {word[:40]!a}")
    return int(word)


def _write_integer(value: int) -> bytes:
    return b"%d" % value


def _same(value: bytes) -> bytes:
    return value


def _read_headers(word: bytes) -> Mapping[str, str]:
    import json

    try:
        headers = json.loads(word)
    except (ValueError, RecursionError):
        raise Invalid("headers are a JSON object of text values") from None
    if not isinstance(headers, dict):
        raise Invalid("headers are a JSON object of text values")
    return headers


def _write_headers(headers: Mapping[str, str]) -> bytes:
    import json

    return json.dumps(dict(headers), ensure_ascii=False, separators=(",", ":")).encode()


def text_kind(name: str, check: Callable[[str], str]) -> Kind:
    """Return a kind of text that ``check`` allows."""
    return Kind(name, read_text, str.encode, check)


def integer_kind(name: str, low: int, high: int, what: str) -> Kind:
    """Return a kind of integer from ``low`` to ``high``; ``what`` names it in errors."""
    return Kind(
        name, read_integer, _write_integer, lambda value: names.check_range(value, low, high, what)
    )


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a reader of a setting that takes one of ``allowed``."""

    def read(value: str) -> str:
        if value not in allowed:
            raise Invalid(f"{str(value)[:40]!a} is not one of {', '.join(allowed)}")
        return value

    return read


NAME = text_kind("name", names.check_name)
QUEUE = text_kind("name", names.check_queue_name)
USER = text_kind("name", names.check_user_name)
PASSWORD = text_kind("password", names.check_password)
RECEIPT = text_kind("receipt", names.check_receipt)
KEY = text_kind("key", names.check_key)
CONTENT_TYPE = text_kind("type", names.check_content_type)
BODY = Kind("body", _same, _same, names.check_body)
HEADERS = Kind("json", _read_headers, _write_headers, names.check_headers)
COUNT = integer_kind("n", 1, names.MAX_PULL_COUNT, "the count")
UID = integer_kind("n", 0, 2**32 - 2, "a user id")
PRIORITY = integer_kind("n", 0, names.MAX_PRIORITY, "a priority")
LEASE = integer_kind("ms", 1, names.MAX_LEASE_MS, "a lease in milliseconds")
DURATION = integer_kind("ms", 0, names.MAX_DURATION_MS, "a duration in milliseconds")
