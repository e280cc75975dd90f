"""Medical concepts named in a text: a small open lexicon, or a user's UMLS, with what is denied told apart."""

from fedmeki_bench.lexicon.mentions import Mention, concepts, mentions

__all__ = ["Mention", "concepts", "mentions"]
