"""How a question is put to a language model: the texts around the soft tokens, the question and the answer.

A row is read as ``[BOS] start, opening, soft tokens, closing, gap, question, after, answer, end``. Soft tokens within
the question stand between ``opening`` and ``closing`` there; if all do, ``start`` is followed by the question.

- ``plain``: nothing but soft tokens and question; the answer ends with EOS. For models that go on with a text.
- ``chat``: the tokenizer's own chat template, soft tokens and question in the user's turn. For instruction-tuned
  models, which answer a bare text with nothing or with a turn of their own.
- ``published``: the dialogue markers of FedKIM's and FEDMEKI's released code (XiaochenWang-PSU/FedKIM).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fedmeki_bench.errors import InputError, nearest
from fedmeki_bench.foundation.sequence import Asked, Segment

_SOFT, _QUESTION, _ANSWER = "[[soft tokens]]", "[[question]]", "[[answer]]"


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """The texts of one format.

    Attributes:
        start: what comes before everything.
        opening: what comes right before soft tokens, wherever they stand.
        closing: what comes right after soft tokens, wherever they stand.
        gap: what comes between soft tokens that come first, with their closing, and the question.
        after: what comes between question and answer.
        end: what comes after the answer and ends it; empty means the tokenizer's EOS.
        bos: whether the tokenizer's BOS goes first; false where ``start`` brings the start of a text itself.
    """

    start: str = ""
    opening: str = ""
    closing: str = ""
    gap: str = ""
    after: str = ""
    end: str = ""
    bos: bool = True

    def row(self, first: Tensor | None, asked: Asked) -> list[Segment]:
        """Everything before the answer, in order; each text is tokenised alone, and the last segment is a text.

        Args:
            first: soft tokens that come first (tokens, H), or None. Where the question is a text alone their place is
                marked even if they are none.
            asked: the question: a text, or texts and soft tokens.
        """
        row: list[Segment] = []
        text = self.start
        if isinstance(asked, str) or (first is not None and len(first)):
            row = [text + self.opening, *([] if first is None else [first])]
            text = self.closing + self.gap
        for segment in (asked,) if isinstance(asked, str) else asked:
            if isinstance(segment, str):
                text += segment
            else:
                row += [text + self.opening, segment]
                text = self.closing
        return [*row, text + self.after]


def prompt_format(name: str, tokenizer: Any, model: str = "") -> PromptFormat:
    """The format of that name for a tokenizer.

    Args:
        name: ``plain``, ``chat`` or ``published``.
        tokenizer: of the language model; ``chat`` is its chat template.
        model: what to call the model in an error.

    Raises:
        InputError: an unknown name, or ``chat`` where the tokenizer has no template or one that can't be followed.
    """
    if name not in FORMATS:
        raise InputError(f"unknown prompt format {name!r}; {nearest(name, FORMATS)}")
    return FORMATS[name](tokenizer, model)


def _plain(tokenizer: Any, model: str) -> PromptFormat:
    return PromptFormat()


def _published(tokenizer: Any, model: str) -> PromptFormat:
    return PromptFormat("### Human: ", "<Img>", "</Img>", " ", "\n### Assistant: ", "\n###")


def _chat(tokenizer: Any, model: str) -> PromptFormat:
    """One exchange as the template writes it, cut at the places of soft tokens, question and answer.

    The answer's surroundings are those of a finished answer, so that what training reads is what the template writes,
    also where it opens an answer differently when it is yet to be given (with an empty train of thought, say).
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(
            f"the tokenizer of the foundation model '{model}' has no chat template: use prompt_format=plain for a "
            "base model, or the folder of the instruction-tuned one with its chat template"
        )
    exchange = [
        {"role": "user", "content": f"{_SOFT}\n{_QUESTION}"},
        {"role": "assistant", "content": _ANSWER},
    ]
    try:
        whole = str(tokenizer.apply_chat_template(exchange, tokenize=False))
    except Exception as error:  # a template is a program of its own and fails in its own ways
        reason = " ".join(str(error).split())[:160].rstrip(". ")
        raise InputError(
            f"the chat template of the foundation model '{model}' can't write a question and its answer; it said: "
            f"{reason}; use prompt_format=plain"
        ) from error
    if any(whole.count(mark) != 1 for mark in (_SOFT, _QUESTION, _ANSWER)):
        raise InputError(
            f"the chat template of the foundation model '{model}' does not write question and answer as they are: "
            "use prompt_format=plain"
        )
    start, rest = whole.split(_SOFT)
    gap, rest = rest.split(_QUESTION)
    after, end = rest.split(_ANSWER)
    return PromptFormat(start, gap=gap, after=after, end=end.rstrip(), bos=False)


FORMATS: dict[str, Callable[[Any, str], PromptFormat]] = {"plain": _plain, "chat": _chat, "published": _published}
"""Name -> what makes the format for a tokenizer, and the model's name for errors."""
