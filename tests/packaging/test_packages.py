"""The list of packages in pyproject.toml against the folders on disk."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: Each folder of sources, and the package it is installed as.
INSTALLED_AS = {"broker": "broker", "cli": "broker.cli", "migrations": "broker.migrations"}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def packages_on_disk() -> set[str]:
    """Return every folder that holds a module, by the name it is installed under."""
    found = set()
    for folder, package in INSTALLED_AS.items():
        for module in (ROOT / folder).rglob("*.py"):
            parts = module.parent.relative_to(ROOT / folder).parts
            found.add(".".join((package, *parts)))
    return found


def test_listed_packages_are_the_folders_on_disk(project: dict[str, Any]) -> None:
    listed = project["tool"]["setuptools"]["packages"]

    assert sorted(listed) == sorted(packages_on_disk())


def test_each_source_folder_is_mapped_to_its_package(project: dict[str, Any]) -> None:
    mapping = project["tool"]["setuptools"]["package-dir"]

    assert mapping == {package: folder for folder, package in INSTALLED_AS.items()}


def test_each_package_is_a_regular_one() -> None:
    missing = [
        package
        for package in sorted(packages_on_disk())
        if not (folder_of(package) / "__init__.py").is_file()
    ]

    assert missing == []


def test_type_marker_is_installed(project: dict[str, Any]) -> None:
    assert (ROOT / "broker" / "py.typed").is_file()
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["broker"]


def folder_of(package: str) -> Path:
    for folder, root in INSTALLED_AS.items():
        if root != "broker" and (package == root or package.startswith(f"{root}.")):
            return ROOT.joinpath(folder, *package.removeprefix(root).split(".")[1:])
    return ROOT.joinpath(*package.split("."))
