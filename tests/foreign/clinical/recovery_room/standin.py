"""A stand-in of the charts: whoever is intubated again has less oxygen and a faster heart from hour to hour."""

from __future__ import annotations

from fedmeki_bench.api import generator

USUAL = {"heart rate": (80, 8), "oxygen saturation": (97, 1.2), "mean pressure": (85, 9), "temperature": (36.8, 0.3)}


def write(out, *, size, seed):
    """Write 'stays.csv' and 'charts' below ``out``."""
    import pandas as pd

    (out / "charts").mkdir(parents=True, exist_ok=True)
    stays = []
    for stay in range(size):
        rng = generator(seed, "synthesize", "recovery", stay)
        again, ward = int(rng.random() < 0.4), int(rng.integers(3))
        hours = int(rng.integers(6, 15))
        lines = []
        for hour in range(hours):
            worse = {"heart rate": 2.0 * hour, "oxygen saturation": -0.5 * hour} if again else {}
            for variable, (usual, spread) in USUAL.items():
                if rng.random() < 0.8:  # not everything is charted every hour
                    value = usual + worse.get(variable, 0.0) + ward * 0.2 + rng.normal(0, spread)
                    lines.append((hour, variable, f"{value:.1f}"))
        pd.DataFrame(lines, columns=["hour", "variable", "value"]).to_csv(out / "charts" / f"{stay}.csv", index=False)
        patient = f"p{stay * 3 // 4}"  # some come back
        facts = ("FM"[int(rng.integers(2))], int(rng.integers(20, 90)), hours, again, f"{stay}.csv")
        stays.append((f"s{stay}", patient, f"ward {ward}", *facts))
    columns = ["stay", "patient", "ward", "sex", "age", "hours", "reintubated", "chart"]
    pd.DataFrame(stays, columns=columns).to_csv(out / "stays.csv", index=False)
