"""Everything an author of plug-ins imports, and nothing deeper; the built-in plug-ins use nothing else.

Grouped by author in :data:`GROUPS`. Importing this module loads nothing: a name is loaded when it is first asked for,
so that a rule that needs no tensor at import does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedmeki_bench.algorithms import Algorithm as Algorithm
    from fedmeki_bench.algorithms import Scope as Scope
    from fedmeki_bench.data.card import synthetic_facts as synthetic_facts
    from fedmeki_bench.data.clients.partition import Iid as Iid
    from fedmeki_bench.data.clients.partition import Partition as Partition
    from fedmeki_bench.data.cohort import Cohort as Cohort
    from fedmeki_bench.data.cohort import CohortPart as CohortPart
    from fedmeki_bench.data.contract import SYNTHETIC_MARKER as SYNTHETIC_MARKER
    from fedmeki_bench.data.contract import ArraySpec as ArraySpec
    from fedmeki_bench.data.contract import DatasetMeta as DatasetMeta
    from fedmeki_bench.data.contract import DatasetPreparer as DatasetPreparer
    from fedmeki_bench.data.contract import Drops as Drops
    from fedmeki_bench.data.contract import confined as confined
    from fedmeki_bench.data.contract import require_folder as require_folder
    from fedmeki_bench.data.contract import write_marker as write_marker
    from fedmeki_bench.data.decoding import Decoded as Decoded
    from fedmeki_bench.data.decoding import Dropped as Dropped
    from fedmeki_bench.data.holdings import rows_of as rows_of
    from fedmeki_bench.data.prepare.official import official_overlap as official_overlap
    from fedmeki_bench.data.prepare.zero_shot import training_assignment as training_assignment
    from fedmeki_bench.data.preparer_options import PreparerOptions as PreparerOptions
    from fedmeki_bench.data.raw.dicom_files import decoded_frame as decoded_frame
    from fedmeki_bench.data.raw.dicom_files import first_frame as first_frame
    from fedmeki_bench.data.raw.dicom_files import opened_dicom as opened_dicom
    from fedmeki_bench.data.raw.dicom_series import read_dicom_series as read_dicom_series
    from fedmeki_bench.data.raw.images import damage_dropped as damage_dropped
    from fedmeki_bench.data.raw.images import grey_array as grey_array
    from fedmeki_bench.data.raw.images import grey_picture as grey_picture
    from fedmeki_bench.data.raw.images import pixel_digest as pixel_digest
    from fedmeki_bench.data.raw.images import resized as resized
    from fedmeki_bench.data.raw.json_items import text as text
    from fedmeki_bench.data.raw.json_items import whole as whole
    from fedmeki_bench.data.raw.questions import question_rows as question_rows
    from fedmeki_bench.data.raw.tables import natural as natural
    from fedmeki_bench.data.raw.tables import number as number
    from fedmeki_bench.data.raw.tables import read_table as read_table
    from fedmeki_bench.data.raw.volumes import read_nifti as read_nifti
    from fedmeki_bench.data.raw.volumes import window as window
    from fedmeki_bench.data.series import SeriesStatistics as SeriesStatistics
    from fedmeki_bench.data.series import model_input as model_input
    from fedmeki_bench.data.series import series_statistics as series_statistics
    from fedmeki_bench.definitions.defined_task import DefinedTask as DefinedTask
    from fedmeki_bench.definitions.defined_task import defined_task as defined_task
    from fedmeki_bench.definitions.definition import Definition as Definition
    from fedmeki_bench.definitions.definition import checked as checked
    from fedmeki_bench.definitions.definition import read_definition as read_definition
    from fedmeki_bench.errors import InputError as InputError
    from fedmeki_bench.errors import RunFailed as RunFailed
    from fedmeki_bench.errors import SiteLost as SiteLost
    from fedmeki_bench.errors import nearest as nearest
    from fedmeki_bench.evaluation.metric_spec import MetricSpec as MetricSpec
    from fedmeki_bench.evaluation.metrics import weighted_mean as weighted_mean
    from fedmeki_bench.evaluation.view import Answers as Answers
    from fedmeki_bench.evaluation.view import Served as Served
    from fedmeki_bench.evaluation.view import View as View
    from fedmeki_bench.federation.client import ClientContext as ClientContext
    from fedmeki_bench.federation.computing import Measured as Measured
    from fedmeki_bench.federation.engine import Engine as Engine
    from fedmeki_bench.federation.engine import Opening as Opening
    from fedmeki_bench.federation.mean import Mean as Mean
    from fedmeki_bench.federation.payload import Payload as Payload
    from fedmeki_bench.federation.payload import Update as Update
    from fedmeki_bench.federation.rule import Rule as Rule
    from fedmeki_bench.federation.seat import Seat as Seat
    from fedmeki_bench.federation.server import Server as Server
    from fedmeki_bench.federation.server import ServerContext as ServerContext
    from fedmeki_bench.federation.stacks import Stack as Stack
    from fedmeki_bench.federation.stage import Stage as Stage
    from fedmeki_bench.foundation.choices import AdapterChoice as AdapterChoice
    from fedmeki_bench.foundation.choices import FoundationModel as FoundationModel
    from fedmeki_bench.foundation.choices import InjectionTraining as InjectionTraining
    from fedmeki_bench.foundation.injected import Injected as Injected
    from fedmeki_bench.foundation.injected import injected as injected
    from fedmeki_bench.foundation.language import Language as Language
    from fedmeki_bench.foundation.training import inject as inject
    from fedmeki_bench.foundation.tuned import TunedModel as TunedModel
    from fedmeki_bench.kinds.kind import Kind as Kind
    from fedmeki_bench.kinds.kind import LabelSpec as LabelSpec
    from fedmeki_bench.lexicon.mentions import concepts as concepts
    from fedmeki_bench.models.batch import Batch as Batch
    from fedmeki_bench.models.client_model import Outputs as Outputs
    from fedmeki_bench.models.encoder import Encoder as Encoder
    from fedmeki_bench.models.encoder import Input as Input
    from fedmeki_bench.models.encoder import Stored as Stored
    from fedmeki_bench.models.encoders.clinical import SeriesEncoder as SeriesEncoder
    from fedmeki_bench.models.encoders.image import ImageEncoder as ImageEncoder
    from fedmeki_bench.models.encoders.signal import SignalEncoder as SignalEncoder
    from fedmeki_bench.models.encoders.volume import VolumeEncoder as VolumeEncoder
    from fedmeki_bench.models.flat import Entry as Entry
    from fedmeki_bench.models.flat import FlatTensors as FlatTensors
    from fedmeki_bench.models.flat import Layout as Layout
    from fedmeki_bench.models.patched import PatchEncoder as PatchEncoder
    from fedmeki_bench.models.pretext import Pretext as Pretext
    from fedmeki_bench.models.training import Training as Training
    from fedmeki_bench.models.views import ViewOptions as ViewOptions
    from fedmeki_bench.options import later as later
    from fedmeki_bench.profiles import Profile as Profile
    from fedmeki_bench.seeds import derive as derive
    from fedmeki_bench.seeds import generator as generator
    from fedmeki_bench.signs import FINDINGS as FINDINGS
    from fedmeki_bench.signs import SIGNS as SIGNS
    from fedmeki_bench.sites.remote import Remote as Remote
    from fedmeki_bench.task import Clinical as Clinical
    from fedmeki_bench.task import Exclude as Exclude
    from fedmeki_bench.task import Row as Row
    from fedmeki_bench.task import Task as Task
    from fedmeki_bench.task import TaskMeta as TaskMeta

GROUPS: dict[str, dict[str, str]] = {
    # what clients do and how the server combines it
    "rules": {
        "Rule": "federation.rule",
        "Payload": "federation.payload",
        "Update": "federation.payload",
        "ClientContext": "federation.client",
        "Server": "federation.server",
        "Mean": "federation.mean",
        "Stack": "federation.stacks",
        "FlatTensors": "models.flat",
        "Entry": "models.flat",
        "Layout": "models.flat",
        "Outputs": "models.client_model",
        "Batch": "models.batch",
        "Training": "models.training",
        "Measured": "federation.computing",
        "Algorithm": "algorithms",
        "Scope": "algorithms",
        "later": "options",
        "derive": "seeds",
        "generator": "seeds",
        "RunFailed": "errors",
    },
    # what the server does after combining
    "stages": {
        "Stage": "federation.stage",
        "ServerContext": "federation.server",
        "AdapterChoice": "foundation.choices",
        "FoundationModel": "foundation.choices",
        "InjectionTraining": "foundation.choices",
        "Injected": "foundation.injected",
        "injected": "foundation.injected",
        "inject": "foundation.training",
        "TunedModel": "foundation.tuned",
    },
    # questions about a dataset
    "tasks": {
        "Task": "task",
        "TaskMeta": "task",
        "Clinical": "task",
        "Exclude": "task",
        "Row": "task",
        "concepts": "lexicon.mentions",
    },
    # what a label is, and how it is learnt, said in words and scored
    "kinds": {
        "Kind": "kinds.kind",
        "LabelSpec": "kinds.kind",
    },
    # raw releases and their stand-ins
    "datasets": {
        "DatasetPreparer": "data.contract",
        "DatasetMeta": "data.contract",
        "PreparerOptions": "data.preparer_options",
        "ArraySpec": "data.contract",
        "Decoded": "data.decoding",
        "Dropped": "data.decoding",
        "Drops": "data.contract",
        "InputError": "errors",
        "nearest": "errors",
        "require_folder": "data.contract",
        "confined": "data.contract",
        "read_table": "data.raw.tables",
        "number": "data.raw.tables",
        "natural": "data.raw.tables",
        "question_rows": "data.raw.questions",
        "text": "data.raw.json_items",
        "whole": "data.raw.json_items",
        "grey_array": "data.raw.images",
        "grey_picture": "data.raw.images",
        "resized": "data.raw.images",
        "pixel_digest": "data.raw.images",
        "damage_dropped": "data.raw.images",
        "Definition": "definitions.definition",
        "DefinedTask": "definitions.defined_task",
        "defined_task": "definitions.defined_task",
        "read_definition": "definitions.definition",
        "checked": "definitions.definition",
        "opened_dicom": "data.raw.dicom_files",
        "first_frame": "data.raw.dicom_files",
        "decoded_frame": "data.raw.dicom_files",
        "read_dicom_series": "data.raw.dicom_series",
        "read_nifti": "data.raw.volumes",
        "window": "data.raw.volumes",
        "series_statistics": "data.series",
        "rows_of": "data.holdings",
        "official_overlap": "data.prepare.official",
        "training_assignment": "data.prepare.zero_shot",
        "write_marker": "data.contract",
        "SYNTHETIC_MARKER": "data.contract",
        "synthetic_facts": "data.card",
        "SIGNS": "signs",
        "FINDINGS": "signs",
    },
    # from stored arrays to tokens
    "encoders": {
        "Encoder": "models.encoder",
        "PatchEncoder": "models.patched",
        "Input": "models.encoder",
        "Stored": "models.encoder",
        "ImageEncoder": "models.encoders.image",
        "SignalEncoder": "models.encoders.signal",
        "VolumeEncoder": "models.encoders.volume",
        "SeriesEncoder": "models.encoders.clinical",
        "SeriesStatistics": "data.series",
        "model_input": "data.series",
        "Profile": "profiles",
    },
    # how encoders are trained without labels
    "pretexts": {
        "Pretext": "models.pretext",
        "ViewOptions": "models.views",
    },
    # foundation models, and the views that are scored
    "models": {
        "Language": "foundation.language",
        "View": "evaluation.view",
        "Answers": "evaluation.view",
        "Served": "evaluation.view",
    },
    # metrics
    "scores": {
        "MetricSpec": "evaluation.metric_spec",
        "weighted_mean": "evaluation.metrics",
    },
    # which client holds which samples
    "partitions": {
        "Partition": "data.clients.partition",
        "Iid": "data.clients.partition",
        "Cohort": "data.cohort",
        "CohortPart": "data.cohort",
    },
    # where clients are
    "engines": {
        "Engine": "federation.engine",
        "Opening": "federation.engine",
        "Seat": "federation.seat",
        "Remote": "sites.remote",
        "SiteLost": "errors",
    },
}
"""Author -> name -> the module below ``fedmeki_bench`` that defines it."""

_WHERE = {name: module for names in GROUPS.values() for name, module in names.items()}

__all__ = sorted(_WHERE)


if not TYPE_CHECKING:  # a type checker would believe that every name is there

    def __getattr__(name: str) -> Any:
        if name not in _WHERE:
            raise AttributeError(f"module 'fedmeki_bench.api' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"fedmeki_bench.{_WHERE[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
