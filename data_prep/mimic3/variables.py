"""The 48 hourly variables of YAIB on MIMIC-III, in the order of the stored columns, and where they are charted.

Facts (names, units, allowed ranges, item ids, conversions) as in van de Water et al., "Yet Another ICU
Benchmark", ICLR 2024 (arXiv:2306.05109), whose concepts come from ricu (Bennett et al., GigaScience 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CHART, LAB, OUTPUT = "CHARTEVENTS", "LABEVENTS", "OUTPUTEVENTS"


@dataclass(frozen=True, slots=True)
class Variable:
    """One column: its unit, the allowed range (ends included, ``None`` is open) and the kind of input it is."""

    name: str
    title: str
    unit: str
    low: float | None
    high: float | None
    kind: Literal["lab", "vital", "input", "output"]


@dataclass(frozen=True, slots=True)
class Source:
    """Item ids of one table that measure a variable; a raw value becomes
    ``(value - offset) * factor / divisor``.
    """

    name: str
    table: str
    itemids: tuple[int, ...]
    offset: float = 0.0
    factor: float = 1.0
    divisor: float = 1.0


# fmt: off
VARIABLES: tuple[Variable, ...] = (
    Variable("alb", "albumin", "g/dL", 0, 6, "lab"),
    Variable("alp", "alkaline phosphatase", "IU/L", 0, None, "lab"),
    Variable("alt", "alanine aminotransferase", "IU/L", 0, None, "lab"),
    Variable("ast", "aspartate aminotransferase", "IU/L", 0, None, "lab"),
    Variable("be", "base excess", "mEq/L", -25, 25, "lab"),
    Variable("bicar", "bicarbonate", "mEq/L", 5, 50, "lab"),
    Variable("bili", "total bilirubin", "mg/dL", 0, 100, "lab"),
    Variable("bili_dir", "bilirubin direct", "mg/dL", 0, 50, "lab"),
    Variable("bnd", "band form neutrophils", "%", None, None, "lab"),
    Variable("bun", "blood urea nitrogen", "mg/dL", 0, 200, "lab"),
    Variable("ca", "calcium", "mg/dL", 4, 20, "lab"),
    Variable("cai", "calcium ionized", "mmol/L", 0.5, 2, "lab"),
    Variable("ck", "creatine kinase", "IU/L", 0, None, "lab"),
    Variable("ckmb", "creatine kinase MB", "ng/mL", 0, None, "lab"),
    Variable("cl", "chloride", "mEq/L", 80, 130, "lab"),
    Variable("crea", "creatinine", "mg/dL", 0, 15, "lab"),
    Variable("crp", "C-reactive protein", "mg/L", 0, None, "lab"),
    Variable("dbp", "diastolic blood pressure", "mmHg", 0, 200, "vital"),
    Variable("fgn", "fibrinogen", "mg/dL", 0, 1500, "lab"),
    Variable("fio2", "fraction of inspired oxygen", "%", 21, 100, "input"),
    Variable("glu", "glucose", "mg/dL", 0, 1000, "lab"),
    Variable("hgb", "hemoglobin", "g/dL", 4, 18, "lab"),
    Variable("hr", "heart rate", "bpm", 0, 300, "vital"),
    Variable("inr_pt", "prothrombin time/international normalized ratio", "", None, None, "lab"),
    Variable("k", "potassium", "mEq/L", 0, 10, "lab"),
    Variable("lact", "lactate", "mmol/L", 0, 50, "lab"),
    Variable("lymph", "lymphocytes", "%", 0, 100, "lab"),
    Variable("map", "mean arterial pressure", "mmHg", 0, 250, "vital"),
    Variable("mch", "mean corpuscular hemoglobin", "pg", 0, None, "lab"),
    Variable("mchc", "mean corpuscular hemoglobin concentration", "%", 20, 50, "lab"),
    Variable("mcv", "mean corpuscular volume", "fL", 50, 150, "lab"),
    Variable("methb", "methemoglobin", "%", 0, 100, "lab"),
    Variable("mg", "magnesium", "mg/dL", 0.5, 5, "lab"),
    Variable("na", "sodium", "mEq/L", 110, 165, "lab"),
    Variable("neut", "neutrophils", "%", 0, 100, "lab"),
    Variable("o2sat", "oxygen saturation", "%", 50, 100, "vital"),
    Variable("pco2", "CO2 partial pressure", "mmHg", 10, 150, "lab"),
    Variable("ph", "pH of blood", "", 6.8, 8, "lab"),
    Variable("phos", "phosphate", "mg/dL", 0, 40, "lab"),
    Variable("plt", "platelet count", "K/uL", 5, 1200, "lab"),
    Variable("po2", "O2 partial pressure", "mmHg", 40, 600, "lab"),
    Variable("ptt", "partial thromboplastin time", "sec", 0, None, "lab"),
    Variable("resp", "respiratory rate", "insp/min", 0, 120, "vital"),
    Variable("sbp", "systolic blood pressure", "mmHg", 0, 300, "vital"),
    Variable("temp", "temperature", "C", 32, 42, "vital"),
    Variable("tnt", "troponin t", "ng/mL", 0, None, "lab"),
    Variable("urine", "urine output", "mL", 0, 2000, "output"),
    Variable("wbc", "white blood cell count", "K/uL", 0, None, "lab"),
)

SOURCES: tuple[Source, ...] = (
    Source("alb", LAB, (50862,)),
    Source("alp", LAB, (50863,)),
    Source("alt", LAB, (50861,)),
    Source("ast", LAB, (50878,)),
    Source("be", LAB, (50802,)),
    Source("bicar", LAB, (50882,)),
    Source("bili", LAB, (50885,)),
    Source("bili_dir", LAB, (50883,)),
    Source("bnd", LAB, (51144,)),
    Source("bun", LAB, (51006,)),
    Source("ca", LAB, (50893,)),
    Source("cai", LAB, (50808,)),
    Source("ck", LAB, (50910,)),
    Source("ckmb", LAB, (50911,)),
    Source("cl", LAB, (50902,)),
    Source("crea", LAB, (50912,)),
    Source("crp", LAB, (50889,), factor=10.0),
    Source("dbp", CHART, (8368, 8441, 8555, 220051, 220180)),
    Source("fgn", LAB, (51214,)),
    Source("fio2", CHART, (3420, 223835)),
    Source("fio2", LAB, (50816,)),
    Source("glu", LAB, (50809, 50931)),
    Source("hgb", LAB, (51222,)),
    Source("hr", CHART, (211, 220045)),
    Source("inr_pt", LAB, (51237,)),
    Source("k", LAB, (50971,)),
    Source("lact", LAB, (50813,)),
    Source("lymph", LAB, (51244,)),
    Source("map", CHART, (52, 443, 456, 6072, 220052, 220181, 225312)),
    Source("mch", LAB, (51248,)),
    Source("mchc", LAB, (51249,)),
    Source("mcv", LAB, (51250,)),
    Source("methb", LAB, (50814,)),
    Source("mg", LAB, (50960,)),
    Source("na", LAB, (50983,)),
    Source("neut", LAB, (51256,)),
    Source("o2sat", CHART, (646, 220277, 226253)),
    Source("pco2", LAB, (50818,)),
    Source("ph", LAB, (50820,)),
    Source("phos", LAB, (50970,)),
    Source("plt", LAB, (51265,)),
    Source("po2", LAB, (50821,)),
    Source("ptt", LAB, (51275,)),
    Source("resp", CHART, (618, 619, 220210, 224688, 224689, 224690)),
    Source("sbp", CHART, (51, 455, 6701, 220050, 220179)),
    Source("temp", CHART, (676, 677, 223762)),
    Source("temp", CHART, (678, 679, 223761, 224027), offset=32.0, factor=5.0, divisor=9.0),
    Source("tnt", LAB, (51003,)),
    Source("urine", OUTPUT, (
        40055, 40056, 40057, 40065, 40069, 40085, 40086, 40094, 40096, 40405, 40428, 40473, 40715,
        43175, 226557, 226558, 226559, 226560, 226561, 226563, 226564, 226565, 226566, 226567, 226584, 227510,
    )),
    Source("wbc", LAB, (51301,)),
)
# fmt: on

NAMES: tuple[str, ...] = tuple(variable.name for variable in VARIABLES)
SUMMED = "urine"  # all others are the median of the hour
