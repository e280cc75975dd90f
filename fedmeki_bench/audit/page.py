"""The audit as one HTML page: findings, class balance, example pairs as pictures. Self-contained, light and dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedmeki_bench import __version__
from fedmeki_bench.audit.findings import Finding
from fedmeki_bench.audit.reading import Audited, facts_of
from fedmeki_bench.plain import plain_text

if TYPE_CHECKING:
    import numpy as np

_SIDE = 112
_WIDTH, _HEIGHT = 320, 160


def render(
    audited: Sequence[Audited], findings: Sequence[Finding], assigned: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """The page; ``assigned`` holds, per training cohort, the class counts of each client."""
    from jinja2 import Environment, PackageLoader

    counts = {level: sum(f.level == level for f in findings) for level in ("leak", "note", "ok")}
    facts = [facts_of(one) | {"bars": _bars(one, assigned.get(one.name, ()))} for one in audited]
    by_name = {one.name: one for one in audited}
    environment = Environment(loader=PackageLoader("fedmeki_bench.audit", "."), autoescape=True)
    template = environment.get_template("page.html.j2")
    page = template.render(
        findings=findings,
        facts=facts,
        counts=counts,
        marks={"leak": "✕ leak", "note": "! note", "ok": "✓ ok"},
        synthetic=[f["cohort"] for f in facts if f["synthetic"]],
        pictures={i: _pictures(f, by_name) for i, f in enumerate(findings) if f.examples},
        version=__version__,
    )
    return plain_text(page)


def _bars(one: Audited, clients: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Class balance per split and per client; widths in percent of the largest."""
    rows = [(f"split {name}", s["samples"], s.get("positive")) for name, s in one.cohort.card["splits"].items()]
    rows = [row for row in rows if row[1]]
    rows += [(f"client {number}", row["n"], row["positive"]) for number, row in enumerate(clients)]
    largest = max((n for _, n, _ in rows), default=1) or 1
    bars = []
    for name, n, positive in rows:
        share = 0.0 if not n or positive is None else 100 * positive / n
        words = f"{n} samples" + ("" if positive is None else f", {share:.0f} % positive")
        bars.append({
            "name": name, "width": round(100 * n / largest, 1), "positive": round(share, 1),
            "negative": round(100 - share, 1), "text": words,
        })  # fmt: skip
    return bars


def _pictures(finding: Finding, by_name: Mapping[str, Audited]) -> list[dict[str, Any]]:
    found = []
    for example in finding.examples:
        sides = [(by_name[name], sample, row) for name, sample, row in (example.left, example.right)]
        modality = next((m for m in _DRAWN if all(m in one.cohort.arrays for one, _, _ in sides)), None)
        if modality is None:
            continue
        shown: dict[str, Any] = {"modality": modality, "correlation": example.correlation}
        for side, (one, sample, row) in zip(("left", "right"), sides, strict=True):
            values = one.array(modality)
            assert values is not None
            if one.cohort.arrays[modality].counted:  # the first of the sample's
                held = one.held(modality)
                row = next(iter(held.loc[held["sample_id"].astype(str) == sample, "array_row"]), 0)
            shown |= {side: _DRAWN[modality](values[row]), f"{side}_name": f"{one.name} {sample}"}
        found.append(shown)
    return found


def _traces(rows: np.ndarray) -> list[str]:
    """(channels, points) as the points of polylines in a box of 320 x 160; gaps are left out."""
    import numpy as np

    rows = np.asarray(rows, dtype=float)
    step = max(1, rows.shape[1] // 500)
    rows = rows[:, ::step]
    spread = np.nanmax(np.abs(rows), initial=0, where=np.isfinite(rows)) or 1.0
    height = _HEIGHT / len(rows)
    found = []
    for k, row in enumerate(rows):
        known = np.flatnonzero(np.isfinite(row))
        x = known * (_WIDTH / max(1, len(row) - 1))
        y = (k + 0.5) * height - row[known] / spread * height * 0.48
        found.append(" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)))
    return found


def _signal(values: np.ndarray) -> list[str]:
    """The first three channels."""
    return _traces(values[:3])


def _series(values: np.ndarray) -> list[str]:
    """The four variables with most values, each about its own mean."""
    import numpy as np

    known = np.isfinite(values)
    most = np.argsort(-known.sum(axis=0), kind="stable")[:4]
    count = np.maximum(known.sum(axis=0), 1)
    rest = values - np.where(known, values, 0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, rest * rest, 0).sum(axis=0) / count)
    return _traces((rest / np.where(spread > 0, spread, 1))[:, most].T)


def _png(picture: np.ndarray) -> str:
    """A thumbnail as a data URL."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.asarray(picture[0])).resize((_SIDE, _SIDE))
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


_DRAWN: dict[str, Callable[[np.ndarray], Any]] = {"image": _png, "signal": _signal, "clinical": _series}
"""Modality -> how a sample is shown."""
