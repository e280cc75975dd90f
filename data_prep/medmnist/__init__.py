"""MedMNIST v2: twelve sets of small medical pictures, each a dataset with one file."""

from .preparer import MedMnist, MedMnistOptions
from .sets import (
    BloodMnist,
    BreastMnist,
    ChestMnist,
    DermaMnist,
    OctMnist,
    OrganAMnist,
    OrganCMnist,
    OrganSMnist,
    PathMnist,
    PneumoniaMnist,
    RetinaMnist,
    TissueMnist,
)

__all__ = [
    "BloodMnist", "BreastMnist", "ChestMnist", "DermaMnist", "MedMnist", "MedMnistOptions", "OctMnist", "OrganAMnist",
    "OrganCMnist", "OrganSMnist", "PathMnist", "PneumoniaMnist", "RetinaMnist", "TissueMnist",
]  # fmt: skip
