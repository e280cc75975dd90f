"""Where boards are found by name."""

from __future__ import annotations

from pathlib import Path


def board_folders() -> list[Path]:
    """Where boards are looked for by name, first hit wins: here, the checkout, the installed package."""
    package = Path(__file__).resolve().parent
    checkout = package.parents[1]
    folders = [Path("leaderboards")]
    if (checkout / "pyproject.toml").exists():  # not site-packages, where leaderboards/ could be anyone's
        folders.append(checkout / "leaderboards")
    folders.append(package / "built_in")
    return folders


def known_boards() -> dict[str, Path]:
    """Name to file of every board that can be given by name, sorted by name."""
    found: dict[str, Path] = {}
    for folder in board_folders():
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))
