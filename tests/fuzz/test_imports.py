"""Import files: an export with anything changed in it is taken in, or refused and nothing lost."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich import make_rich
from stores import Store

import broker
from broker.client.importing import import_lines
from broker.commands.archive import read_header, read_record
from broker.errors import BrokerError
from broker.service.files import exported


class Place(NamedTuple):
    """A database to import into, again and again, and the lines of another's export."""

    path: Path
    lines: list[bytes]

    @contextmanager
    def client(self) -> Iterator[broker.Client]:
        """Open it embedded."""
        with broker.connect(str(self.path)) as client:
            yield client


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Return where to import to; once all is over its counters must agree with its rows."""
    folder = tmp_path_factory.mktemp("import")
    make_rich(folder / "source.db")
    with exported(str(folder / "source.db"), with_secrets=True) as (_, lines):
        place = Place(folder / "target.db", [line.rstrip(b"\n") for line in lines])
    with place.client() as client:
        client.create_queue("mine")
    yield place
    store = Store(place.path)
    store.check()
    store.close()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["", "jobs", "news", "alice", "a@b", "dead", "ready", "leased", 2**63, -1]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)  # fmt: skip


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where each value of a JSON document is."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places_in(inner, (*path, index))


@st.composite
def changed(draw: st.DrawFn, line: bytes) -> bytes:
    """Draw a line with one of its values, its keys or its bytes changed."""
    fields = json.loads(line)
    path = draw(st.sampled_from(list(places_in(fields))))
    change = draw(st.sampled_from(["value", "drop", "add", "bytes"]))
    if change == "bytes" or not path:
        position = draw(st.integers(0, len(line)))
        rest = line[position + draw(st.integers(0, 4)) :]
        return (line[:position] + draw(st.binary(max_size=4)) + rest).replace(b"\n", b"")
    holder = fields
    for step in path[:-1]:
        holder = holder[step]
    if change == "value":
        holder[path[-1]] = draw(anything)
    elif change == "drop":
        del holder[path[-1]]
    elif isinstance(holder, dict):
        holder[draw(st.text(max_size=6))] = draw(anything)
    else:
        holder.append(draw(anything))
    return json.dumps(fields).encode()


def check_refusal(refusal: BrokerError) -> None:
    """Check that it is one of the file's own, and says why in one line."""
    assert refusal.code in ("INVALID", "TOOBIG", "NOTFOUND", "EXISTS", "CONFLICT"), refusal
    assert refusal.message.isprintable(), refusal.message


@given(data=st.data())
def test_a_changed_line_is_read_or_refused(place: Place, data: st.DataObject) -> None:
    line = data.draw(changed(data.draw(st.sampled_from(place.lines))))
    for read in (read_header, read_record):
        try:
            read(line)
        except BrokerError as refusal:
            check_refusal(refusal)


@given(data=st.data())
def test_a_changed_export_is_taken_in_or_refused(place: Place, data: st.DataObject) -> None:
    lines = list(place.lines)
    for _ in range(data.draw(st.integers(0, 2))):
        index = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["change", "change", "drop", "swap", "repeat"])):
            case "change":
                if lines[index].startswith(b"{"):
                    try:
                        lines[index] = data.draw(changed(lines[index]))
                    except ValueError:
                        # Changed before, so that it is no JSON any more.
                        continue
            case "drop":
                del lines[index]
            case "swap":
                lines[index], lines[0] = lines[0], lines[index]
            case _:
                lines.insert(index, lines[index])
        if not lines:
            break
    with place.client() as client:
        try:
            import_lines(client, io.BytesIO(b"\n".join(lines)))
        except BrokerError as refusal:
            check_refusal(refusal)
        assert client.show_queue("mine").ready == 0
