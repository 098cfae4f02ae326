"""The request parser: bytes in, commands out, nothing allocated from a peer's number.

The rules:

- A command is an array of bulk strings, or an inline line. An array inside an
  array, or anything else, is no protocol.
- What is held is what was received and not yet returned, and that is bounded:
  a line by ``max_inline``, a command by ``max_command`` and ``max_arguments``.
- What comes whole is split at once (:meth:`RequestParser._read_whole`), and what differs
  from what was expected in its last word alone (:meth:`RequestParser.expect`) is split
  between commands; the rest is read word by word. However the bytes come in pieces, none is
  looked at more than a few times.
- An argument over ``max_bulk`` is skipped without being kept, and costs only its
  own command; one over :data:`MAX_SKIPPED` breaks the connection.
- After :class:`~broker.errors.Protocol` the parser is ``broken`` for good.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, NoReturn

from ...errors import BrokerError, Protocol, TooBig
from ...names import MAX_RECORD_BYTES


class Limits(NamedTuple):
    """What one command may be, in bytes and in arguments."""

    max_inline: int
    max_arguments: int
    max_bulk: int
    max_command: int


#: Before a login nothing longer than HELLO with AUTH and SETNAME has a reason.
BEFORE_LOGIN: Final = Limits(max_inline=1024, max_arguments=16, max_bulk=1024, max_command=4096)
#: A bulk string this long is skipped and refused; a longer one ends the connection.
MAX_SKIPPED: Final = 64 * 1024 * 1024
#: Bytes that are split at once, and so held as words; more wait for their turn.
_CHUNK: Final = 64 * 1024
#: Commands of one run at most.
_RUN: Final = 250
#: The header of an array by what it says, for up to as many words as a command mostly has, and
#: the header of a bulk string by its length: as clients write them, without leading zeros.
_COUNTS: Final = {b"*%d" % count: count for count in range(1, 1025)}
_SHORT: Final = 1280
_LENGTHS: Final = tuple(b"%d" % length for length in range(_SHORT))
_HEADERS: Final = tuple(b"$%s" % length for length in _LENGTHS)
#: Digits and sign of a length, with room to spare for leading zeros.
_MAX_LENGTH_LINE: Final = 20
_HTTP: Final = (
    b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ",
    b"TRACE ", b"HOST:",
)  # fmt: skip


def after_login(max_message_bytes: int) -> Limits:
    """Return the limits of those who have logged in.

    A body may be as large as the broker takes (which is for who stores it to check), a
    command carries many bodies.
    """
    return Limits(
        # What a person types, or a shell prints, in one line.
        max_inline=64 * 1024,
        max_arguments=64 * 1024,
        # Headers and receipts are arguments too, and have limits of their own.
        # The largest is a line of an import, with a body as base64: half as much again.
        max_bulk=MAX_RECORD_BYTES + max_message_bytes * 3 // 2,
        max_command=max(16 * 1024 * 1024, 2 * max_message_bytes),
    )


class Run(NamedTuple):
    """Commands in a row that differ in their last word alone.

    Attributes:
        head: the words before it: the object that :meth:`RequestParser.expect` was given.
        lasts: the last word of each.
    """

    head: list[bytes]
    lasts: list[bytes]


class RequestParser:
    """Parses what one client sends.

    Attributes:
        limits: may be replaced between two commands, as a login does.
        broken: whether the rest of the bytes has no meaning any more.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.broken = False
        self._data = bytearray()
        self._position = 0
        # Where to go on looking for the end of a line.
        self._searched = 0
        # The command in the making: how many words are still to come, or None.
        self._missing: int | None = None
        self._words: list[bytes] = []
        self._size = 0
        # The length of the bulk string whose bytes are awaited, or None.
        self._bulk: int | None = None
        self._skipping = 0
        self._refusal: BrokerError | None = None
        self._is_first_line = True
        # Commands that were split at once, and how many bytes they were.
        self._whole: deque[list[bytes] | Run] = deque()
        self._whole_size = 0
        # Up to where the bytes are not such as can be split.
        self._unsplittable = 0
        # What a run begins with, as words and as bytes up to the length of the last word.
        self._head: list[bytes] = []
        self._expected = b""
        # How many bytes must be there before the command of a run at the front can be whole.
        self._awaited = 0
        # Whether all that has come was taken, and ended with a command.
        self._is_between = True
        # Of one more such command of so many bytes: what is before its last word, and how long
        # that is.
        self._lone_size = self._lone_length = 0
        self._lone_begin = b""

    @property
    def buffered(self) -> int:
        """How many bytes are held at most: not yet parsed, or of commands not yet taken."""
        whole = self._whole_size if self._whole else 0
        return len(self._data) - self._position + self._size + whole

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes that have been received."""
        self._is_between = False
        if self._position:
            del self._data[: self._position]
            self._searched -= self._position
            self._unsplittable -= self._position
            self._awaited = max(0, self._awaited - self._position)
            self._position = 0
        size = len(data)
        if self._data or self._whole or self._missing is not None or self.broken or size > _CHUNK:
            self._data += data
            return
        # Nothing is left of before: what comes whole is not even kept.
        self._searched = 0
        taken = self._take(bytes(data))
        if taken < size:
            self._data += data[taken:]
            self._unsplittable = max(0, self._unsplittable - taken)
            self._awaited = max(0, self._awaited - taken)

    def single(self, data: bytes) -> bytes | None:
        """Return the last word of the one command that bytes just received are, no more, no less.

        None, and nothing is taken, unless it begins as is expected (:meth:`expect`) and nothing
        is left of before: what comes of who awaits each answer mostly is as this, and whole.
        """
        if not self._is_between:
            return None
        if len(data) != self._lone_size:
            self._expect_size(len(data))
        rest = data.removeprefix(self._lone_begin)
        if rest is data:
            # It begins otherwise: a window, mostly, which is too large to be copied for nothing.
            return None
        last = rest.removesuffix(b"\r\n")
        return last if len(last) == self._lone_length else None

    def _expect_size(self, whole: int) -> None:
        """Note what a command of so many bytes begins with: they say how long its last word is."""
        self._lone_size, self._lone_begin = whole, b""
        # That word's length, and what it takes to write that.
        both = whole - len(self._expected) - len(b"\r\n\r\n")
        digits = len(b"%d" % both)
        for length in (both - digits, both - digits + 1):
            written = b"%d" % length
            if self._expected and length >= 0 and length + len(written) == both:
                self._lone_begin = b"%b%b\r\n" % (self._expected, written)
                self._lone_length = length

    def expect(self, head: list[bytes]) -> None:
        """Read commands that have one word more than ``head``, and begin with it, as runs.

        A producer says the same again and again but for the body: what stands before it is
        compared, and neither split nor interpreted each time.
        """
        self._head = head
        words = [b"$%d\r\n%s\r\n" % (len(word), word) for word in head]
        self._expect_bytes(b"*%d\r\n%s$" % (len(head) + 1, b"".join(words)))

    def _expect_bytes(self, expected: bytes) -> None:
        self._expected = expected
        self._lone_size, self._lone_begin = 0, b""

    def unroll(self, run: Run) -> None:
        """Take a run back: the next to come are its commands, one by one."""
        self._whole.extendleft([*run.head, last] for last in reversed(run.lasts))

    def next(self) -> list[bytes] | Run | None:
        """Return the words of the next command, or None if it is not there yet.

        Or a run of commands, where they are as was expected.

        Raises:
            Protocol: no command can be read from these bytes; ``broken``.
            TooBig: one was over a limit; it was left out, and unless ``broken`` the
                next call goes on after it.
        """
        if self._whole:
            return self._whole.popleft()
        if self.broken:
            raise self._refusal or Protocol("the connection is broken")
        if self._missing is None:
            if not self._data:
                self._is_between = True
                return None
            while self._unsplittable <= self._position < len(self._data) >= self._awaited:
                self._read_whole()
                if self._whole:
                    return self._whole.popleft()
            if self._position == len(self._data) or len(self._data) < self._awaited:
                return None
        while True:
            if self._missing is None:
                words = self._begin()
                if words is not None:
                    return words
                if self._missing is None:
                    return None
            if not self._read_words():
                return None
            words, refusal = self._words, self._refusal
            self._missing, self._words, self._size, self._refusal = None, [], 0, None
            if refusal is not None:
                raise refusal
            return words

    def _read_whole(self) -> None:
        """Take the commands at the front that can be taken at once."""
        start = self._position
        with memoryview(self._data) as view:
            chunk = bytes(view[start : max(start + _CHUNK, self._awaited)])
        taken = self._take(chunk)
        self._position = self._searched = start + taken
        if self._unsplittable:
            self._unsplittable += start
        if self._awaited:
            self._awaited += start

    def _take(self, chunk: bytes) -> int:
        """Take the commands at the front that are a run, or else those that can be split.

        Notes in ``_awaited`` or ``_unsplittable``, counted from the front, what the rest is.

        Returns:
            How many bytes they are.
        """
        self._awaited = self._unsplittable = 0
        if self.limits.max_bulk < _CHUNK:
            # Not logged in: no size may be taken for granted.
            self._unsplittable = len(chunk)
            return 0
        taken = self._take_run(chunk) if self._expected else 0
        if not (taken or self._awaited):
            chunk = chunk[:_CHUNK]
            taken = self._split(chunk)
            if taken < len(chunk):
                self._unsplittable = len(chunk)
        if taken:
            self._is_first_line = False
        self._whole_size = taken
        return taken

    def _take_run(self, chunk: bytes) -> int:
        """Take the commands at the front that are whole and have the expected words.

        Splitting at those is right where each piece is a length and a word of that length.
        Who sends a word that has them in itself is expected to do so again: there are no
        more runs then.

        Returns:
            How many bytes they are.
        """
        expected = self._expected
        pieces = chunk.split(expected, _RUN)
        if pieces[0]:
            if expected.startswith(chunk):
                self._awaited = len(chunk) + 1
            return 0
        del pieces[0]
        lasts: list[bytes] = []
        taken = 0
        for piece in pieces:
            length, _, word = piece.partition(b"\r\n")
            size = len(word) - 2
            if length != (_LENGTHS[size] if 0 <= size < _SHORT else b"%d" % size) or (
                word[size:] != b"\r\n"
            ):
                is_last = len(lasts) == len(pieces) - 1
                taken += self._end_run(piece, lasts, taken)
                if self._awaited and not is_last:
                    self._awaited = 0
                    self._expect_bytes(b"")
                break
            lasts.append(word[:size])
            taken += len(expected) + len(piece)
        if lasts:
            self._whole.append(Run(self._head, lasts))
        return taken

    def _end_run(self, piece: bytes, lasts: list[bytes], before: int) -> int:
        """Take a last command that others follow, or wait for the rest of a short one.

        Args:
            piece: what there is from its last word's length on.
            lasts: where that word goes, if it is whole.
            before: how many bytes come before the command.

        Returns:
            How many bytes it has.
        """
        length, end_of_line, word = piece.partition(b"\r\n")
        begin = before + len(self._expected)
        if not end_of_line and len(length) < _MAX_LENGTH_LINE and b"\n" not in length:
            # What is wrong with it shows once the line is there.
            self._awaited = begin + len(length) + 1
        elif length.isdigit() and len(length) < _MAX_LENGTH_LINE and int(length) <= _CHUNK:
            size = int(length)
            whole = begin + len(length) + size + 4
            if word[size : size + 2] == b"\r\n":
                lasts.append(word[:size])
                rest = word[size + 2 :]
                if rest and self._expected.startswith(rest):
                    self._awaited = begin + len(piece) + 1
                return whole - before
            if len(word) < size + 2:
                self._awaited = whole
        return 0

    def _split(self, chunk: bytes) -> int:
        """Take the commands at the front that are whole and as clients write them.

        Splitting at the ends of lines is right where each piece has the length that
        stands before it; where a body has such an end in itself it is not, and the bytes
        up to there are left to be read word by word, as is all that is out of the ordinary.

        Returns:
            How many bytes they are.
        """
        pieces = chunk.split(b"\r\n")
        last = len(pieces) - 1
        begin = 0
        while begin < last:
            count = _COUNTS.get(pieces[begin], last)
            end = begin + 1 + 2 * count
            if end > last:
                break
            words = pieces[begin + 2 : end : 2]
            if pieces[begin + 1 : end : 2] != [
                _HEADERS[n] if n < _SHORT else b"$%d" % n for n in map(len, words)
            ]:
                break
            self._whole.append(words)
            begin = end
        if begin == last and not pieces[last]:
            return len(chunk)
        return sum(map(len, pieces[:begin])) + 2 * begin

    def _begin(self) -> list[bytes] | None:
        """Read the header of an array, or a whole inline command.

        Returns None with ``_missing`` set after a header, None without it if
        more bytes are needed.
        """
        while self._position < len(self._data):
            if self._data[self._position] != 0x2A:
                line = self._line(self.limits.max_inline)
                if line is None:
                    return None
                words = self._inline(line)
                if words:
                    return words
                continue
            line = self._line(_MAX_LENGTH_LINE)
            if line is None:
                return None
            self._is_first_line = False
            count = self._length(line, b"*", self.limits.max_arguments, "arguments")
            if count > 0:
                self._missing = count
                return None
        return None

    def _read_words(self) -> bool:
        """Read bulk strings until the command is whole; False if more bytes are needed."""
        missing = self._missing or 0
        while missing:
            if self._skipping and not self._skip():
                return False
            if self._bulk is None:
                line = self._line(_MAX_LENGTH_LINE)
                if line is None:
                    self._missing = missing
                    return False
                self._begin_bulk(line)
                if self._skipping:
                    missing -= 1
                    self._missing = missing
                    continue
            length = self._bulk or 0
            end = self._position + length
            if len(self._data) < end + 2:
                self._missing = missing
                return False
            if self._data[end] != 0x0D or self._data[end + 1] != 0x0A:
                self._break("a bulk string does not end with CR LF")
            if self._refusal is None:
                self._words.append(bytes(self._data[self._position : end]))
                self._size += length
            self._position = self._searched = end + 2
            self._bulk = None
            missing -= 1
        self._missing = missing
        return not self._skipping or self._skip()

    def _begin_bulk(self, line: bytes) -> None:
        """Read the header of a bulk string, and refuse or skip one that is too long."""
        length = self._length(line, b"$", MAX_SKIPPED, "bytes in a bulk string")
        if length < 0:
            self._break("a null where a bulk string is wanted")
        limits = self.limits
        if length > limits.max_bulk or self._size + length > limits.max_command:
            over = min(limits.max_bulk, limits.max_command)
            self._refusal = TooBig(f"an argument of {length} bytes, the limit is {over}")
            # What came before it is of no use any more either.
            self._words, self._size = [], 0
            self._skipping = length + 2
            return
        self._bulk = length

    def _skip(self) -> bool:
        """Pass over the bytes of a refused argument; False if more are to come."""
        here = min(self._skipping, len(self._data) - self._position)
        self._position += here
        self._searched = self._position
        self._skipping -= here
        return self._skipping == 0

    def _line(self, limit: int) -> bytes | None:
        """Return the next line without its end, or None if it has not ended yet."""
        start = self._position
        end = self._data.find(b"\n", max(start, self._searched))
        if end < 0:
            self._searched = len(self._data)
            if len(self._data) - start > limit + 2:
                self._break(f"a line of over {limit} bytes")
            self._check_http(bytes(self._data[start : start + 16]))
            return None
        if end - start > limit + 1:
            self._break(f"a line of over {limit} bytes")
        line = bytes(self._data[start:end])
        self._position = self._searched = end + 1
        return line

    def _length(self, line: bytes, mark: bytes, highest: int, what: str) -> int:
        """Return the number in a header line such as ``*3`` or ``$5``."""
        digits = line[1:-1]
        if line[:1] != mark or line[-1:] != b"\r":
            self._break(f"{mark.decode()} and a length wanted, not {line[:20]!a}")
        if digits == b"-1":
            return -1
        if not digits.isdigit():
            self._break(f"not a length: {line[:20]!a}")
        length = int(digits)
        if length > highest:
            self._break(f"{length} {what}, at most {highest}")
        return length

    def _inline(self, line: bytes) -> list[bytes]:
        """Return the words of an inline command, split as a shell would."""
        self._check_http(line)
        self._is_first_line = False
        words = split_inline(line)
        if words is None:
            self._break("unbalanced quotes in an inline command")
        if len(words) > self.limits.max_arguments:
            self._break(f"{len(words)} arguments, at most {self.limits.max_arguments}")
        return words

    def _check_http(self, line: bytes) -> None:
        if self._is_first_line and line[:8].upper().startswith(_HTTP):
            self._break("this is no HTTP server")

    def _break(self, reason: str) -> NoReturn:
        self.broken = True
        self._expect_bytes(b"")
        self._refusal = Protocol(reason)
        self._data.clear()
        self._words = []
        self._position = self._searched = self._size = 0
        raise self._refusal


_ESCAPES: Final = {
    0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09, 0x62: 0x08, 0x61: 0x07,
}  # fmt: skip
_BLANK: Final = b" \t\r\0"


def split_inline(line: bytes) -> list[bytes] | None:
    r"""Return the words of a line as Redis splits it, or None if quotes are unbalanced.

    Double quotes know ``\xHH \n \r \t \b \a`` and a backslash before any other
    character; single quotes know ``\'``. A closing quote ends its word.
    """
    words: list[bytes] = []
    position = 0
    while True:
        while position < len(line) and line[position] in _BLANK:
            position += 1
        if position == len(line):
            return words
        found = _split_word(line, position)
        if found is None:
            return None
        word, position = found
        words.append(word)


def _split_word(line: bytes, position: int) -> tuple[bytes, int] | None:
    word = bytearray()
    quote = 0
    while position < len(line):
        byte = line[position]
        if quote:
            if byte == quote:
                after = position + 1
                if after < len(line) and line[after] not in _BLANK:
                    return None
                return bytes(word), after
            if byte == 0x5C and position + 1 < len(line):
                position += _unescape(line, position, quote, word)
                continue
            word.append(byte)
        elif byte in _BLANK:
            break
        elif byte in b"\"'" and not word:
            quote = byte
        else:
            word.append(byte)
        position += 1
    return None if quote else (bytes(word), position)


def _unescape(line: bytes, position: int, quote: int, word: bytearray) -> int:
    """Append what a backslash stands for; return how many bytes that took."""
    following = line[position + 1]
    if quote == 0x27:
        if following == 0x27:
            word.append(0x27)
            return 2
        word.append(0x5C)
        return 1
    digits = line[position + 2 : position + 4]
    if following == 0x78 and len(digits) == 2:
        try:
            word.append(int(digits.decode("ascii"), 16))
        except ValueError:
            pass
        else:
            return 4
    word.append(_ESCAPES.get(following, following))
    return 2
