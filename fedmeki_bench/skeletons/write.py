"""``new rule|stage|task|dataset|encoder NAME``: a package with entry point, module, test, README; it works as it is."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fedmeki_bench import __version__, registry
from fedmeki_bench.errors import InputError, UsageError
from fedmeki_bench.kinds.kind import kind as task_kind

KINDS = {"rule": "rules", "stage": "stages", "task": "tasks", "dataset": "datasets", "encoder": "encoders"}
"""What can be begun -> the kind of plug-in it registers."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HERE = Path(__file__).parent


def write(kind: str, name: str, out: Path, *, dataset: str = "ptbxl", labels: str = "binary") -> list[Path]:
    """Write the package ``out / name``, whole or not at all; returns its files.

    Args:
        kind: one of :data:`KINDS`.
        name: lower case, as it will be typed on the command line; also the module's name.
        dataset: which dataset a new task asks about.
        labels: the kind of a new task.

    Raises:
        UsageError: the name is no module name, or taken by an installed plug-in.
        InputError: the folder exists.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(f"{name!r} can't name a {kind}: use lower-case letters, digits and _, beginning with a letter")
    taken = [k for k in KINDS.values() if name in registry.names(k)]
    if taken:
        raise UsageError(f"there is already a plug-in {name!r} among the {taken[0]}; choose another name")
    modality = "image"
    if kind == "task":
        modality = registry.load("datasets", dataset).meta.modalities[0]
        task_kind(labels)  # a misspelt one has a sentence of its own
        if not (_HERE / "kinds" / f"{labels}.j2").is_file():
            raise UsageError(f"there is no skeleton of the kind {labels!r}: begin with another kind and change it")
    folder = out / name
    if folder.exists():
        raise InputError(f"{folder} exists; choose another name or another --out")
    values = {
        "name": name, "cls": _camel(name), "dataset": dataset, "modality": modality, "version": __version__,
        "package": name.replace("_", "-"), "title": name.replace("_", " ").capitalize(),
        "kind": labels, "role": "training" if task_kind(labels).labelled else "zero_shot",
    }  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".new-") as temporary:
        made = Path(temporary) / name
        _fill(_HERE / kind, made, values)
        made.rename(folder)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _fill(template: Path, folder: Path, values: Mapping[str, str]) -> None:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, trim_blocks=True,
        loader=FileSystemLoader(_HERE),
    )  # fmt: skip
    for source in sorted(template.rglob("*.j2")):
        relative = source.relative_to(template).as_posix().removesuffix(".j2").replace("NAME", values["name"])
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(environment.from_string(source.read_text(encoding="utf-8")).render(values), encoding="utf-8")
    if not any(folder.iterdir()):
        shutil.rmtree(folder)
        raise InputError(f"the skeleton in {template} is missing from this installation")


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
