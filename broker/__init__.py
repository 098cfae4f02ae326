"""A durable message broker in one SQLite file.

The public API: :func:`connect` and :class:`Client`, the asyncio client in
:mod:`broker.aio`, :func:`restore` for back-ups, the record of a :class:`Message`,
and the errors. Names are loaded at first use, so that ``import broker`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._version import __version__ as __version__
    from .client.sync import Client as Client
    from .client.sync import connect as connect
    from .commands.delivery import Message as Message
    from .errors import BrokerError as BrokerError
    from .errors import Conflict as Conflict
    from .errors import Denied as Denied
    from .errors import Exists as Exists
    from .errors import Full as Full
    from .errors import Invalid as Invalid
    from .errors import NoAuth as NoAuth
    from .errors import NotFound as NotFound
    from .errors import Stale as Stale
    from .errors import TooBig as TooBig
    from .errors import Unavailable as Unavailable
    from .errors import WrongPass as WrongPass
    from .service.files import restore as restore

_ERRORS = (
    "BrokerError", "Conflict", "Denied", "Exists", "Full", "Invalid", "NoAuth", "NotFound",
    "Stale", "TooBig", "Unavailable", "WrongPass",
)  # fmt: skip
_HOMES = {
    "__version__": "._version",
    "Client": ".client.sync",
    "connect": ".client.sync",
    "Message": ".commands.delivery",
    "restore": ".service.files",
    **dict.fromkeys(_ERRORS, ".errors"),
}

__all__ = ["Client", "Message", "connect", "restore", *_ERRORS]  # noqa: PLE0604 - all of them text


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
