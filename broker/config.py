"""Where the broker is: flags over environment over file over defaults.

The file is ``$XDG_CONFIG_HOME/broker/config.toml`` (or ``~/.config/...``) and
holds ``url = "..."`` and ``user = "..."``.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from .errors import Invalid, Unavailable
from .names import DEFAULT_MAX_MESSAGE_BYTES, LARGEST_MESSAGE_BYTES, check_user_name

DEFAULT_PORT: Final = 6470
DEFAULT_HOST: Final = "127.0.0.1"
#: What a Unix socket's address holds, its closing NUL counted (Linux 108, macOS 104).
MAX_SOCKET_PATH: Final = 103


class Address(NamedTuple):
    """Where a client finds its broker.

    Attributes:
        kind: ``file`` (a database, be it served or not), ``tcp`` or ``unix``.
        path: of the database or the socket; empty for ``tcp``.
        host, port: of a ``tcp`` door.
        user: as the URL says, or None.
        is_default: the database's folder may be made for it.
    """

    kind: str
    path: str = ""
    host: str = ""
    port: int = 0
    user: str | None = None
    is_default: bool = False

    def __str__(self) -> str:
        if self.kind == "tcp":
            return f"broker://{format_host(self.host, self.port)}"
        return f"broker+unix://{self.path}" if self.kind == "unix" else self.path


def locate(url: str | None = None) -> Address:
    """Return the address that ``url``, ``$BROKER_URL``, the file or the default names.

    Raises:
        Invalid: the URL is of no known kind, or malformed.
    """
    text = url or os.environ.get("BROKER_URL") or _from_file("url")
    if text:
        return parse_url(text)
    return Address("file", default_database(), is_default=True)


def user(name: str | None = None) -> str | None:
    """Return the user that ``name``, ``$BROKER_USER`` or the file names, or None."""
    chosen = name or os.environ.get("BROKER_USER") or _from_file("user")
    return None if not chosen else check_user_name(chosen)


def max_message_bytes(value: int | None = None) -> int:
    """Return the largest body, of ``value``, ``$BROKER_MAX_MESSAGE_BYTES`` or the default."""
    if value is None:
        text = os.environ.get("BROKER_MAX_MESSAGE_BYTES", "")
        if not text:
            return DEFAULT_MAX_MESSAGE_BYTES
        if not text.isascii() or not text.isdigit():
            raise Invalid(f"BROKER_MAX_MESSAGE_BYTES is not a number: {text[:40]!r}")
        value = int(text)
    if not 0 < value <= LARGEST_MESSAGE_BYTES:
        raise Invalid(f"the largest body is 1 to {LARGEST_MESSAGE_BYTES} bytes, not {value}")
    return value


def parse_url(text: str) -> Address:
    """Return the address of a URL or a plain path.

    Raises:
        Invalid: an unknown scheme, a relative path where none can be, a bad port.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Address("file", os.path.abspath(os.path.expanduser(text)))
    if scheme == "sqlite":
        # As SQLAlchemy writes it: three slashes and a relative path, four and an absolute one.
        if not rest.startswith("/") or len(rest) < 2:
            raise Invalid(f"no path in {text!r}: write sqlite:////absolute/path")
        return Address("file", os.path.abspath(rest[1:]))
    if scheme == "broker+unix":
        name, _, path = rest.partition("/")
        if not path:
            raise Invalid(f"no path in {text!r}: write broker+unix:///path")
        return Address("unix", "/" + path, user=_url_user(name.rstrip("@"), text))
    if scheme == "broker":
        return _parse_tcp(rest.rstrip("/"), text)
    raise Invalid(
        f"unknown kind of URL {text!r}: use a path, sqlite:////path, "
        "broker://[user@]host[:port] or broker+unix:///path"
    )


def _parse_tcp(rest: str, text: str) -> Address:
    name, at, place = rest.rpartition("@")
    if "/" in place or "?" in place:
        raise Invalid(f"unexpected path in {text!r}: write broker://[user@]host[:port]")
    host, port = parse_host(place or DEFAULT_HOST)
    return Address("tcp", host=host, port=port, user=_url_user(name, text) if at else None)


def parse_host(text: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port``, ``:port`` or ``[v6]:port``.

    Raises:
        Invalid: the port is no number from 0 to 65535.
    """
    if text.startswith("["):
        host, closing, port = text[1:].partition("]")
        if not closing or (port and not port.startswith(":")):
            raise Invalid(f"not an address: {text!r}")
        port = port[1:]
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if not port:
        return host or DEFAULT_HOST, default_port
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise Invalid(f"not a port: {port[:20]!r} in {text!r}")
    return host or DEFAULT_HOST, int(port)


def format_host(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _url_user(name: str, text: str) -> str | None:
    if ":" in name:
        raise Invalid("a password in a URL shows in `ps`: use $BROKER_PASSWORD or a file")
    return check_user_name(name) if name else None


def default_database() -> str:
    """Return ``$XDG_DATA_HOME/broker/broker.db`` (or under ``~/.local/share``)."""
    return os.path.join(_folder("XDG_DATA_HOME", ".local/share"), "broker", "broker.db")


def make_default_folder(database: str) -> None:
    """Make the folder of the default database, if it is missing, so that a power cut leaves it.

    Each folder above one that was made is synced: a synced file in a folder whose own
    name is lost is lost as well.
    """
    folder = os.path.dirname(database)
    above: list[str] = []
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
        above.append(folder)
    os.makedirs(os.path.dirname(database), 0o700, exist_ok=True)
    for folder in above:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def socket_path(database: str) -> str:
    """Return where a server of a database puts its Unix socket.

    ``<database>.sock``; where that is too long for a socket's address, a name
    made from it in ``$XDG_RUNTIME_DIR`` or a private folder under ``/tmp``.
    """
    path = f"{database}.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    import hashlib

    digest = hashlib.sha256(os.fsencode(database)).hexdigest()[:32]
    folder = os.environ.get("XDG_RUNTIME_DIR") or _own_temporary_folder()
    return os.path.join(folder, f"broker-{digest}.sock")


def _own_temporary_folder() -> str:
    """Return a folder under ``/tmp`` that is ours alone, made if it is missing.

    Raises:
        Unavailable: somebody else has made one of that name.
    """
    folder = f"/tmp/broker-{os.geteuid()}"  # noqa: S108 - whose it is, is checked
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        status = os.lstat(folder)
        if status.st_uid != os.geteuid() or status.st_mode & 0o77 or os.path.islink(folder):
            raise Unavailable(f"{folder} is not a folder of yours alone") from None
    except OSError as error:
        raise Unavailable(f"{folder} cannot be made: {error.strerror}") from error
    return folder


def _folder(variable: str, fallback: str) -> str:
    folder = os.environ.get(variable, "")
    # The XDG specification: a relative path is to be ignored.
    return folder if os.path.isabs(folder) else os.path.join(os.path.expanduser("~"), fallback)


def _from_file(key: str) -> str | None:
    path = os.path.join(_folder("XDG_CONFIG_HOME", ".config"), "broker", "config.toml")
    try:
        with open(path, "rb") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from error
    import tomllib

    try:
        value = tomllib.loads(text.decode()).get(key)
    except ValueError as error:
        raise Invalid(f"{path} is not TOML: {error}") from error
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{path}: {key} is text")
    return value
