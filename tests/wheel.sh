#!/bin/sh
# Build the wheel, install it into a clean environment outside the checkout, list the algorithms, do a short run.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/.venv/bin/python" -m build --wheel --outdir "$work/dist" "$root" >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt" "$work"/dist/*.whl
cd "$work"
bench="$work/venv/bin/fedmeki-bench"
mkdir tasks baselines data_prep  # anybody's folders of these names
for name in tasks baselines data_prep; do echo "raise RuntimeError('not ours')" >$name/__init__.py; done
"$bench" list algorithms
"$work/venv/bin/python" -m fedmeki_bench list tasks | grep -q ecg_abnormal
test "$(ls "$work"/venv/lib/python3*/site-packages | grep -cxE 'tasks|baselines|data_prep|tests')" = 0
test -f "$(echo "$work"/venv/lib/python3*)/site-packages/fedmeki_bench/sites/flower_app/pyproject.toml"  # shipped to sites
"$bench" synth ptbxl --out raw --size 120
"$bench" prepare ptbxl --raw raw --out data --plain
"$bench" run fedavg_s --data data --tasks ecg_abnormal -o rounds=3 --plain
"$bench" list leaderboards | grep -q demo
printf 'name: small\nprofile: demo\nseeds: [0]\ntasks: [ecg_abnormal]\nalgorithms: [fedavg_s]\noptions: {rounds: 3}\n' >small.yaml
"$bench" leaderboard small.yaml --results results --out board
grep -q 'data-alg="fedavg_s"' board/leaderboard.html
echo "wheel ok: $(basename "$work"/dist/*.whl)"
