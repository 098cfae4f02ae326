"""The text of the statements is what SQLAlchemy makes of them, for any number of rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from broker.store import statements
from broker.store.core import drafts
from broker.store.core.draft import BulkDraft

ROOT = Path(__file__).resolve().parents[2]


def test_the_texts_are_those_of_the_statements() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make-statements"), "--print"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    texts = ROOT / "broker" / "store" / "statements" / "texts.py"
    assert texts.read_text() == made.stdout, "run `make statements`"


@pytest.mark.parametrize("name", [n for n, d in drafts() if isinstance(d, BulkDraft)])
def test_the_text_for_many_rows_is_what_sqlalchemy_makes_of_them(name: str) -> None:
    draft = dict(drafts())[name]
    assert isinstance(draft, BulkDraft)
    for rows in (*statements.BULK_SIZES, 3):
        assert getattr(statements, name).of(rows).text == draft.of(rows).text()
