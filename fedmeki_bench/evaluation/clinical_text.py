"""Metrics of generated medical text: which concepts an answer shares with the gold one (``umls_*``), and BERTScore.

Both look things up that no installation brings: concepts in the UMLS that ``FEDMEKI_UMLS`` names (without one, in this
project's open lexicon), words in the BERT that ``FEDMEKI_BERTSCORE`` names (without one, BERTScore is undefined). What
was used stands in the note beside every value. Nothing is downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fedmeki_bench.evaluation import bertscore as bert
from fedmeki_bench.evaluation.metrics import MetricSpec, weighted_mean
from fedmeki_bench.lexicon.lexicons import VERSION, chosen_lexicon, umls_path
from fedmeki_bench.lexicon.mentions import mentions

_UMLS_VERSIONS = 1000  # values by UMLS and by the open lexicon are versions apart: boards never mix versions


def umls_precision(gold: str, predicted: str | None) -> float:
    """Share of the answer's concepts that the gold answer has; NaN as :func:`_shared` says."""
    return _shared(gold, predicted, lambda of_gold, of_predicted: of_predicted)


def umls_recall(gold: str, predicted: str | None) -> float:
    """Share of the gold answer's concepts that the answer has; NaN as :func:`_shared` says."""
    return _shared(gold, predicted, lambda of_gold, of_predicted: of_gold)


def umls_f1(gold: str, predicted: str | None) -> float:
    """2 x shared / (concepts of both); NaN as :func:`_shared` says."""
    return _shared(gold, predicted, lambda of_gold, of_predicted: (of_gold + of_predicted) / 2)


def _shared(gold: str, predicted: str | None, out_of: Callable[[int, int], float]) -> float:
    """Concepts that both texts state, a denied one being another than the affirmed one, out of so many.

    NaN where the gold answer names none: the pair does not count, whatever the answer says. An answer that names none,
    or from which nothing could be read, is worth 0.

    Raises:
        InputError: the UMLS that is named can't be read.
    """
    lexicon = chosen_lexicon()
    wanted = mentions(gold, lexicon)
    if not wanted:
        return math.nan
    said = mentions(predicted, lexicon) if predicted is not None else frozenset()
    return len(wanted & said) / out_of(len(wanted), len(said)) if said else 0.0


def bertscore(gold: str, predicted: str | None) -> float:
    """F1 of :func:`fedmeki_bench.evaluation.bertscore.pair_score`, not below 0; NaN without a model.

    Raises:
        InputError: the model that is named can't be read.
    """
    named = bert.named_model()
    if named is None:
        return math.nan
    return max(bert.pair_score(named, gold, predicted).f1, 0.0) if predicted is not None else 0.0


def _spec(
    name: str, title: str, per_sample: Callable[[str, str | None], float], definition: str, *, version: int, note: str,
    undefined: str,
) -> MetricSpec:  # fmt: skip
    return MetricSpec(
        name=name,
        version=version,
        title=title,
        definition=definition,
        direction="higher",
        range=(0.0, 1.0),
        kinds=("generation",),
        needs="text",
        function=weighted_mean,
        undefined=undefined,
        per_sample=per_sample,
        note=note,
        interval="mean",
    )


def _of_concepts(name: str, title: str, per_sample: Callable[[str, str | None], float], definition: str) -> MetricSpec:
    path = umls_path()
    return _spec(
        name,
        title if path else f"{title} (open lexicon)",
        per_sample,
        f"{definition}; concepts are names of {'the UMLS' if path else 'the open lexicon'}, a denied concept being "
        "another than the affirmed one; mean over the answers whose gold answer names a concept.",
        version=VERSION + (_UMLS_VERSIONS if path else 0),
        note=_lexicon_used(),
        undefined="no gold answer names a concept of the lexicon",
    )


def _lexicon_used() -> str:
    path = umls_path()
    if path is None:
        return f"open lexicon {VERSION}, no UMLS"
    size = f" ({path.stat().st_size} bytes)" if path.is_file() else ""  # tells releases apart at no cost
    return f"UMLS: {path.name}{size}"


UMLS_PRECISION = _of_concepts(
    "umls_precision",
    "UMLS precision",
    umls_precision,
    "Share of the answer's concepts that the gold answer states, too",
)
UMLS_RECALL = _of_concepts(
    "umls_recall", "UMLS recall", umls_recall, "Share of the gold answer's concepts that the answer states, too"
)
UMLS_F1 = _of_concepts(
    "umls_f1",
    "UMLS F1",
    umls_f1,
    "Harmonic mean of the shares of the answer's and of the gold answer's concepts that both state",
)
BERTSCORE = _spec(
    "bertscore",
    "BERTScore",
    bertscore,
    "F measure of the greatest similarities between the contextual embeddings of the words of answer and gold answer; "
    "mean over answers.",
    version=1,
    note=bert.model_used(),
    undefined="there are no samples" if bert.model_used() else f"no model: {bert.VARIABLE} names none",
)
