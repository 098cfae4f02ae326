"""What the operating system knows of a user."""

from __future__ import annotations

import pwd

from ..errors import Invalid
from ..names import check_user_name


def login_name(uid: int) -> str:
    """Return the name under which a uid becomes a user: its login, or ``uid:N``."""
    try:
        return check_user_name(pwd.getpwuid(uid).pw_name)
    except (KeyError, Invalid):
        # No entry, as in containers, or a login no user may be called by.
        return f"uid:{uid}"
