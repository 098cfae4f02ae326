"""The words of the commands: one table for parsing, formatting, help and documents.

A :class:`Syntax` says how a command is spelled: its words, its positional
arguments, its options. The socket parses words into commands with it, the
socket client formats commands into words with it, the embedded client checks
the commands it built with it, and the documents and tests are held to it. The
command line spells the same words its own way: ``IFEMPTY`` is ``--if-empty``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

from .. import names
from ..errors import BrokerError, Invalid, TooBig
from .delivery import STATES

#: Names of one kind that need not be checked again: 400 bytes each at most.
NAMES_REMEMBERED: Final = 1024


class Kind(NamedTuple):
    """One kind of argument.

    Attributes:
        name: how documents call it.
        read: the allowed value a word of the wire stands for; Invalid or TooBig for another.
        write: the word of a value, so that ``read(write(v)) == v``.
        check: returns an allowed value, raises Invalid or TooBig for another.
        read_many: what ``read`` returns for each of many words, or None if one is not
            allowed or it cannot tell; for a kind of which a command has thousands.
    """

    name: str
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    check: Callable[[Any], Any]
    read_many: Callable[[Sequence[bytes]], tuple[Any, ...] | None] | None = None

    def read_each(self, words: Sequence[bytes]) -> tuple[Any, ...]:
        """Return the values of words, or refuse the first that is not allowed."""
        values = None if self.read_many is None else self.read_many(words)
        return tuple(map(self.read, words)) if values is None else values


class Argument(NamedTuple):
    """A positional argument.

    A repeated one takes one word or more and comes last: up to the first option
    word, or, if it is counted, as many as the number in front of it says.
    """

    field: str
    kind: Kind
    repeated: bool = False
    counted: bool = False

    @property
    def usage(self) -> str:
        """The argument as a line of help shows it."""
        if not self.repeated:
            return self.field
        return f"n {self.singular} ..." if self.counted else f"{self.singular} ..."

    @property
    def singular(self) -> str:
        """What one of a repeated argument is called."""
        return "body" if self.field == "bodies" else self.field.removesuffix("s")


class Option(NamedTuple):
    """An option: a word, followed by its value unless it is a flag (``kind`` None)."""

    word: str
    field: str
    kind: Kind | None
    summary: str


class Setting(NamedTuple):
    """A ``name=value`` word of CREATE and SET.

    Attributes:
        name: as it is written and shown.
        read: the stored value that a text stands for.
        summary: a phrase.
        default: the text it has when it is not given, or given as ``name=``.
        show: the stored value as records have it.
    """

    name: str
    read: Callable[[str], Any]
    summary: str
    default: str
    show: Callable[[Any], Any] = str


class Tail(NamedTuple):
    """A second command at the end of a first, behind a word: ``ACK receipt SEND queue body``."""

    word: str
    field: str
    syntax: Callable[[], Syntax]


class Syntax(NamedTuple):
    """How one command is spelled and what it answers.

    Attributes:
        words: the command's words, as ``("QUEUE", "SEND")``.
        command: the NamedTuple it builds.
        arguments: what follows, by position.
        options: what follows those, in any order.
        settings: the ``name=value`` words it takes, into the field ``settings``.
        result: ``ok``, ``count``, ``sent``, ``sent_many``, ``record``, ``records``,
            ``pulled`` or ``peeked`` (a record or null without COUNT, records with it),
            ``outcomes`` (for each repeated argument ``ok`` or its error) or ``all`` (those
            of the parts of a transaction).
        record: the NamedTuple of the records, where the result has some.
        summary: one sentence.
        creates: whether it makes a database that is not there.
        reads: whether it changes nothing.
        tail: a second command it may end with.
        rule: refuses, with Invalid, options that contradict each other; told which fields
            were given.
        progress: fields with which the broker goes on with what it does in slices; no
            door spells them.
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
    tail: Tail | None = None
    rule: Callable[[Any, Collection[str]], None] | None = None
    progress: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """The command as a line of help, ``QUEUE DELETE name [IFEMPTY] [IFEXISTS]``."""
        parts = list(self.words)
        parts += [argument.usage for argument in self.arguments]
        parts += ["[name=value ...]"] if self.settings else []
        parts += [f"[{o.word} {o.kind.name}]" if o.kind else f"[{o.word}]" for o in self.options]
        if self.tail is not None:
            behind = self.tail.syntax()
            parts.append(f"[{self.tail.word} {behind.usage.split(' ', len(behind.words))[-1]}]")
        return " ".join(parts)


def parse(syntax: Syntax, words: Sequence[bytes]) -> Any:
    """Return the command that ``words`` (those after the command's own) spell.

    Raises:
        Invalid: wrong arity, an unknown option or setting, a value not allowed.
    """
    arguments = syntax.arguments
    total = len(words)
    if total == len(arguments) and not (total and arguments[-1].counted):
        command = _read_arguments(syntax, words)
        if syntax.rule is not None:
            syntax.rule(command, ())
        return command
    values: dict[str, Any] = {}
    position = 0
    for argument in arguments:
        if position >= total:
            raise Invalid(f"wrong number of arguments: {syntax.usage}")
        if argument.repeated:
            if argument.counted:
                position, end = _counted(syntax, argument, words, position)
            else:
                end = _end_of_repeated(syntax, words, position)
                _check_count(argument, end - position)
            values[argument.field] = argument.kind.read_each(words[position:end])
            position = end
        else:
            values[argument.field] = argument.kind.read(words[position])
            position += 1
    if position < total:
        _parse_options(syntax, words, position, values)
    command = syntax.command(**values)
    if syntax.rule is not None:
        syntax.rule(command, values)
    return command


class Template(NamedTuple):
    """Commands without options that are the same but for their last argument.

    Attributes:
        syntax: theirs.
        command: returns the one with the given last word, as :func:`parse` would, or raises
            Invalid or TooBig where it is not allowed.
        commands: returns those with the given last words, or raises the same.
    """

    syntax: Syntax
    command: Callable[[bytes], Any]
    commands: Callable[[Iterable[bytes]], list[Any]]


def template(syntax: Syntax, words: Sequence[bytes]) -> Template | None:
    """Return what commands have in common whose words but for the last are ``words``.

    None where the last word is no argument of its own, or one of these is not allowed.
    """
    arguments = syntax.arguments
    if len(words) != len(arguments) - 1 or arguments[-1].counted:
        return None
    readers, after = _plain(syntax)
    read, kind, new, place = readers[-1], syntax.command, tuple.__new__, len(words)
    try:
        fields = [*map(operator.call, readers, words), None, *after]
        if syntax.rule is not None:
            # What it says of options, of which there are none, it says of all.
            syntax.rule(new(kind, fields), ())
    except BrokerError:
        return None

    def command(last: bytes) -> Any:
        fields[place] = read(last)
        made: Any = new(kind, fields)
        # It may be large, and the next may be long in coming.
        fields[place] = None
        return made

    def commands(lasts: Iterable[bytes]) -> list[Any]:
        # Not by the other: to call it costs as much again as to make one of a thousand.
        all_made: list[Any] = []
        try:
            for last in lasts:
                fields[place] = read(last)
                all_made.append(new(kind, fields))
        finally:
            fields[place] = None
        return all_made

    return Template(syntax, command, commands)


def _read_arguments(syntax: Syntax, words: Sequence[bytes]) -> Any:
    """Return the command without any option that ``words``, one an argument, spell.

    Most commands are such, so it is made as directly as can be: its first fields are
    its arguments, the rest their defaults (a test holds every command to that).
    """
    readers, rest = _plain(syntax)
    return tuple.__new__(syntax.command, [*map(operator.call, readers, words), *rest])


def _plain(syntax: Syntax) -> tuple[tuple[Callable[[bytes], Any], ...], tuple[Any, ...]]:
    """Return the readers of a command's arguments, and the defaults of its options."""
    plain = _PLAIN.get(syntax.command)
    if plain is None:
        command: Any = syntax.command
        fields, defaults = command._fields, command._field_defaults
        readers = tuple(
            partial(_read_one, argument.kind) if argument.repeated else argument.kind.read
            for argument in syntax.arguments
        )
        plain = readers, tuple(defaults[field] for field in fields[len(readers) :])
        _PLAIN[syntax.command] = plain
    return plain


def _read_one(kind: Kind, word: bytes) -> tuple[Any, ...]:
    return (kind.read(word),)


#: By the command: the readers of its arguments, and the defaults of its options.
_PLAIN: dict[type, tuple[tuple[Callable[[bytes], Any], ...], tuple[Any, ...]]] = {}


def _counted(
    syntax: Syntax, argument: Argument, words: Sequence[bytes], position: int
) -> tuple[int, int]:
    """Return where a counted argument begins, behind its number, and where it ends."""
    count = read_integer(words[position])
    _check_count(argument, count)
    begin = position + 1
    if begin + count > len(words):
        raise Invalid(f"{count} of {argument.singular} announced, and fewer came: {syntax.usage}")
    return begin, begin + count


def _end_of_repeated(syntax: Syntax, words: Sequence[bytes], start: int) -> int:
    """Return where a repeated argument ends: at the first option word after its first."""
    if start + 1 == len(words):
        return start + 1
    option_words = {*_options_by_word(syntax)}
    if syntax.tail is not None:
        option_words.add(syntax.tail.word.encode())
    if option_words.isdisjoint(map(bytes.upper, words[start + 1 :])):
        return len(words)
    end = start + 1
    while words[end].upper() not in option_words:
        end += 1
    return end


def _options_by_word(syntax: Syntax) -> dict[bytes, Option]:
    """Return the options of a command by their words, made once."""
    found = _OPTIONS_BY_WORD.get(syntax.command)
    if found is None:
        found = {option.word.encode(): option for option in syntax.options}
        _OPTIONS_BY_WORD[syntax.command] = found
    return found


_OPTIONS_BY_WORD: dict[type, dict[bytes, Option]] = {}


def _check_count(argument: Argument, count: int) -> None:
    """Refuse none, or more than one command may do at once."""
    if not 0 < count <= names.MAX_REPEATED:
        raise Invalid(
            f"1 to {names.MAX_REPEATED} of {argument.singular} in one command, not {count}"
        )


def _parse_options(
    syntax: Syntax, words: Sequence[bytes], position: int, values: dict[str, Any]
) -> None:
    settings: list[tuple[str, str]] = []
    while position < len(words):
        word = words[position]
        position += 1
        if syntax.tail is not None and word.upper() == syntax.tail.word.encode():
            values[syntax.tail.field] = parse(syntax.tail.syntax(), words[position:])
            break
        option = _options_by_word(syntax).get(word.upper())
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
        values[option.field] = option.kind.read(words[position])
        position += 1
    if settings:
        values["settings"] = check_settings(syntax, tuple(settings))


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
    form = _FORMS.get(syntax.command) or _form_of(syntax)
    for place, check_argument in form.arguments:
        check_argument(command[place])
    options = command[form.others :]
    given: list[str] = []
    if not all(map(operator.is_, options, form.defaults)):
        for (field, check_field), value, default in zip(
            form.fields, options, form.defaults, strict=True
        ):
            if value is not default:
                check_field(value)
                if value != default:
                    given.append(field)
    if syntax.rule is not None:
        syntax.rule(command, given)


class _Form(NamedTuple):
    """How the fields of a command are checked, in their order.

    Attributes:
        arguments: the place and the check of each of its arguments, which come first.
        others: where the other fields begin.
        fields: each of those with its check.
        defaults: of those, which need none.
    """

    arguments: tuple[tuple[int, Callable[[Any], object]], ...]
    others: int
    fields: tuple[tuple[str, Callable[[Any], object]], ...]
    defaults: tuple[Any, ...]


_FORMS: dict[type, _Form] = {}


def _form_of(syntax: Syntax) -> _Form:
    command: Any = syntax.command
    others = command._fields[len(syntax.arguments) :]
    checks: dict[str, Callable[[Any], object]] = {
        option.field: option.kind.check if option.kind is not None else _anything
        for option in syntax.options
    }
    if syntax.settings:
        checks["settings"] = partial(check_settings, syntax)
    if syntax.tail is not None:
        checks[syntax.tail.field] = partial(_check_tail, syntax.tail)
    for field in syntax.progress:
        checks[field] = partial(_not_for_callers, field, command._field_defaults[field])
    form = _FORMS[command] = _Form(
        tuple(
            enumerate(
                partial(_check_each, argument) if argument.repeated else argument.kind.check
                for argument in syntax.arguments
            )
        ),
        len(syntax.arguments),
        # What no door spells is for who made it to check.
        tuple((field, checks.get(field, _anything)) for field in others),
        tuple(command._field_defaults.get(field) for field in others),
    )
    return form


def _check_each(argument: Argument, values: Sequence[Any]) -> None:
    _check_count(argument, len(values))
    for value in values:
        argument.kind.check(value)


def _check_tail(tail: Tail, behind: Any) -> None:
    syntax = tail.syntax()
    if type(behind) is not syntax.command:
        raise Invalid(f"behind {tail.word} comes {syntax.usage}")
    check(syntax, behind)


def _anything(value: object) -> None:
    """Allow any value, as of a flag, which is true or not."""


def _not_for_callers(field: str, default: object, value: object) -> None:
    if value != default:
        raise Invalid(f"{field} is not for callers")


def check_settings(
    syntax: Syntax, settings: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Return ``settings`` if each is known, given once, and has an allowed value."""
    read_settings(syntax.settings, settings)
    return settings


def read_settings(
    known: tuple[Setting, ...], settings: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    """Return the stored values of ``settings`` by name; ``name=`` is the default.

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
        if not isinstance(value, str):
            raise Invalid(f"the setting {name} is text, not {type(value).__name__}")
        try:
            values[name] = setting.read(value or setting.default)
        except Invalid as refusal:
            raise Invalid(f"{name}: {refusal.message}") from None
    return values


def default_settings(known: tuple[Setting, ...]) -> dict[str, Any]:
    """Return the stored values of all defaults by name."""
    return {setting.name: setting.read(setting.default) for setting in known}


def exclusive(given: Collection[str], *fields: str) -> None:
    """Refuse a command in which more than one of ``fields`` is ``given``."""
    if len(given) < 2:
        return
    both = [field for field in fields if field in given]
    if len(both) > 1:
        words = [field.removesuffix("_ms").replace("_", " ") for field in both]
        raise Invalid(f"{' and '.join(words)} exclude each other")


def words_of(syntax: Syntax, command: Any) -> list[bytes]:
    """Return the words of ``command``, those that :func:`parse` reads, led by its own."""
    words = [word.encode() for word in syntax.words]
    for argument in syntax.arguments:
        value = getattr(command, argument.field)
        if argument.repeated:
            if argument.counted:
                words.append(_write_integer(len(value)))
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
    if syntax.tail is not None and getattr(command, syntax.tail.field) is not None:
        behind = syntax.tail.syntax()
        words.append(syntax.tail.word.encode())
        words += words_of(behind, getattr(command, syntax.tail.field))[len(behind.words) :]
    return words


#: Twice the longest there is, and more than any misspelling of it.
_LONGEST_GUESSED: Final = 64


def nearest(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean X?`` or what there is, to end an error text with."""
    from difflib import get_close_matches

    # Not of what nobody has meant: a table of all its characters is made.
    close = get_close_matches(word, known, n=1) if len(word) <= _LONGEST_GUESSED else []
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


#: The largest headers, with each byte escaped (``\\u0000``), and white space between them.
#: What is longer is not read at all: JSON's smallest objects hold twenty times their length.
_MAX_HEADERS_JSON: Final = 8 * names.MAX_HEADER_BYTES


def _read_headers(word: bytes) -> Mapping[str, str]:
    import json

    if len(word) > _MAX_HEADERS_JSON:
        raise TooBig(f"headers of {len(word)} bytes of JSON, the limit is {_MAX_HEADERS_JSON}")
    try:
        headers = json.loads(word)
    except (ValueError, RecursionError):
        raise Invalid("headers are a JSON object of text values") from None
    if not isinstance(headers, dict):
        raise Invalid("headers are a JSON object of text values")
    return names.check_headers(headers)


def _write_headers(headers: Mapping[str, str]) -> bytes:
    import json

    return json.dumps(dict(headers), ensure_ascii=False, separators=(",", ":")).encode()


def text_kind(name: str, check: Callable[[str], str]) -> Kind:
    """Return a kind of text that ``check`` allows."""
    return Kind(name, lambda word: check(read_text(word)), str.encode, check)


def _read_receipts(words: Sequence[bytes]) -> tuple[str, ...] | None:
    """Read many receipts in the time of a few."""
    joined = b" ".join(words)
    if names.RECEIPTS.fullmatch(joined) is None:
        return None
    receipts = tuple(joined.decode().split(" "))
    # A word with a space in it looked like two.
    return receipts if len(receipts) == len(words) else None


def name_kind(check: Callable[[str], str]) -> Kind:
    """Return a kind of name that ``check`` allows; the last ones read are remembered.

    A queue is named again and again, and to check a name costs more than the rest of
    what is read of a send.
    """
    kind = text_kind("name", check)
    remembered = lru_cache(NAMES_REMEMBERED)(check)

    def check_if_new(name: str) -> str:
        return remembered(name) if type(name) is str else check(name)

    return kind._replace(read=lru_cache(NAMES_REMEMBERED)(kind.read), check=check_if_new)


def integer_kind(name: str, low: int, high: int, what: str) -> Kind:
    """Return a kind of integer from ``low`` to ``high``; ``what`` names it in errors."""

    def check(value: int) -> int:
        return names.check_range(value, low, high, what)

    def read(word: bytes) -> int:
        try:
            value = read_integer(word)
        except Invalid as refusal:
            raise Invalid(f"{refusal.message}; {what} is one from {low} to {high}") from None
        return check(value)

    return Kind(name, read, _write_integer, check)


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a reader of a setting that takes one of ``allowed``."""

    def read(value: str) -> str:
        if value not in allowed:
            raise Invalid(f"{str(value)[:40]!a} is not one of {', '.join(allowed)}")
        return value

    return read


def _one_of(allowed: Sequence[str], what: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        lower = value.lower() if isinstance(value, str) else value
        if lower not in allowed:
            raise Invalid(f"{what} is one of {', '.join(allowed)}, not {str(value)[:40]!a}")
        return lower

    return check


NAME = name_kind(names.check_name)
QUEUE = name_kind(names.check_queue_name)
USER = name_kind(names.check_user_name)
PASSWORD = text_kind("password", names.check_password)
RECEIPT = text_kind("receipt", names.check_receipt)._replace(read_many=_read_receipts)
KEY = text_kind("key", names.check_key)
CONTENT_TYPE = text_kind("type", names.check_content_type)
# As they are: to ask `bytes` for what is such takes six times as long.
BODY = Kind("body", bytes.__bytes__, bytes, names.check_body)
LINE = Kind("line", bytes.__bytes__, bytes, names.check_body)
HEADERS = Kind("json", _read_headers, _write_headers, names.check_headers)
COUNT = integer_kind("n", 1, names.MAX_PULL_COUNT, "the count")
UID = integer_kind("n", 0, 2**32 - 2, "a user id")
PRIORITY = integer_kind("n", 0, names.MAX_PRIORITY, "a priority")
LEASE = integer_kind("ms", 1, names.MAX_LEASE_MS, "a lease in milliseconds")
DURATION = integer_kind("ms", 0, names.MAX_DURATION_MS, "a duration in milliseconds")
LIFETIME = integer_kind("ms", 1, names.MAX_DURATION_MS, "a lifetime in milliseconds")
MEMORY = integer_kind("ms", 1, names.MAX_DURATION_MS, "the time of a key in milliseconds")
TIME = integer_kind("ms", 0, names.MAX_TIME_MS, "a time in milliseconds since 1970")
ID = integer_kind("id", 1, names.MAX_INTEGER, "an id")
AFTER = integer_kind("id", 0, names.MAX_INTEGER, "an id")
LIMIT = integer_kind("n", 1, names.MAX_INTEGER, "a limit")
STATE = text_kind("state", _one_of(STATES, "a state"))
REASON = text_kind("text", lambda t: names.check_text(t, names.MAX_REASON_LENGTH, "reason"))
MATCH = text_kind("text", lambda t: names.check_text(t, names.MAX_MATCH_LENGTH, "text to match"))
