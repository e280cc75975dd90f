"""MedMNIST v2: twelve sets of small medical pictures and six of volumes, each a dataset with one file."""

from .preparer import MedMnist, MedMnist2D, MedMnist3D, MedMnist3DOptions, MedMnistOptions
from .sets import (
    AdrenalMnist3D,
    BloodMnist,
    BreastMnist,
    ChestMnist,
    DermaMnist,
    FractureMnist3D,
    NoduleMnist3D,
    OctMnist,
    OrganAMnist,
    OrganCMnist,
    OrganMnist3D,
    OrganSMnist,
    PathMnist,
    PneumoniaMnist,
    RetinaMnist,
    SynapseMnist3D,
    TissueMnist,
    VesselMnist3D,
)

__all__ = [
    "AdrenalMnist3D", "BloodMnist", "BreastMnist", "ChestMnist", "DermaMnist", "FractureMnist3D", "MedMnist",
    "MedMnist2D", "MedMnist3D", "MedMnist3DOptions", "MedMnistOptions", "NoduleMnist3D", "OctMnist", "OrganAMnist",
    "OrganCMnist", "OrganMnist3D", "OrganSMnist", "PathMnist", "PneumoniaMnist", "RetinaMnist", "SynapseMnist3D",
    "TissueMnist", "VesselMnist3D",
]  # fmt: skip
