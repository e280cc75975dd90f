#!/usr/bin/env bash
# Five hospital sites behind Flower, as processes of this machine: synthetic data, one run, everything ended again.
#   bash docs/sites/five_sites.sh [FOLDER]        FLOWER=.venv-flower/bin says where Flower's commands are
set -euo pipefail
# a process group of its own, so that ending it ends nothing else
[ "$(ps -o pgid= -p $$ | tr -d ' ')" = "$$" ] || exec setsid --wait bash "$0" "$@"

here="${1:-sites-demo}"
flower="$(cd "${FLOWER:-.venv-flower/bin}" && pwd)"
port="${PORT:-9800}"
sites=5

mkdir -p "$here/home"
here="$(cd "$here" && pwd)"
sockets="$(mktemp -d)" # paths of sockets must be short
export FLWR_HOME="$here/home" FLWR_TELEMETRY_ENABLED=0 PATH="$flower:$PATH" OMP_NUM_THREADS=1
printf "[superlink]\ndefault = \"here\"\n[superlink.here]\naddress = \"127.0.0.1:%s\"\ninsecure = true\n" "$port" \
  >"$here/home/config.toml"

# every process below is of this group, and ends with it
end() {
  status=$?
  trap '' EXIT INT TERM
  rm -rf "$sockets"
  kill 0
  wait
  exit "$status"
}
trap end EXIT INT TERM

if [ ! -d "$here/dealt" ]; then
  fedmeki-bench synth ptbxl --out "$here/raw" --size 300
  fedmeki-bench prepare ptbxl --raw "$here/raw" --out "$here/data"
  fedmeki-bench site prepare --data "$here/data" --tasks ecg_abnormal \
    --sites "$sites" --clients "$sites" --out "$here/dealt"
fi

flower-superlink --insecure --port "$port" --disable-runtime-dependency-installation >"$here/superlink.log" 2>&1 &
for site in $(seq 0 $((sites - 1))); do
  fedmeki-bench site serve --data "$here/dealt/site-$site" --memory "$here/memory-$site" \
    --socket "$sockets/$site" >"$here/site-$site.log" 2>&1 &
  flower-supernode --insecure --superlink "127.0.0.1:$port" --port $((port + 1 + site)) \
    --node-config "socket=\"$sockets/$site\"" >"$here/supernode-$site.log" 2>&1 &
done

fedmeki-bench run "${ALGORITHM:-scaffold_m}" --data "$here/dealt/server" --tasks ecg_abnormal --clients "$sites" \
  --results "$here/results" \
  --engine flower -e "flwr=$flower/flwr" -o rounds="${ROUNDS:-3}"
