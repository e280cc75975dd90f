"""Where a question puts the finding decides whether a small model learns to look it up; so does where its names start.

    python benchmarks/prompts.py [--steps 600]

Builds ``tiny`` four times: with the finding last, as the tasks' prompts have it, or followed by "? Reply with yes or
no.\\nAnswer:"; with the names of one thing starting as neighbours in the embedding, or as strangers. Prints the share
of right answers to fresh questions about one finding among eight and among sixteen; a coin gets half of them.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from fedmeki_bench.foundation.language import Language
from fedmeki_bench.foundation.tiny import accuracy, pretrain
from fedmeki_bench.foundation.tiny_config import TinyConfig
from fedmeki_bench.foundation.tiny_text import plain_text_questions

CLOSINGS = {"finding last": "", "then an instruction": "? Reply with yes or no.\nAnswer:"}
STARTS = {"neighbours": 0.3, "strangers": None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=TinyConfig().steps)
    chosen = parser.parse_args()
    for place, closing in CLOSINGS.items():
        for start, apart in STARTS.items():
            began = time.perf_counter()
            model, tokenizer, _ = pretrain(TinyConfig(steps=chosen.steps, closing=closing, apart=apart))
            language = Language(model, tokenizer, name="tiny")
            shares = []
            for findings in (8, 16):
                asked = plain_text_questions(400, seed=1, findings=findings, certain=True)
                shares.append(accuracy(language, [replace(q, prompt=q.prompt + closing) for q in asked]))
            print(
                f"{place:<20} names start as {start:<11} one among 8: {shares[0]:.3f}, among 16: {shares[1]:.3f}"
                f"   ({time.perf_counter() - began:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
