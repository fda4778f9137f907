#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Everything that a machine with a GPU can say of the CUDA backend, in under nine minutes, by one command:
#
#   bench/gpu/run.sh [FOLDER]        results go to FOLDER (default: OUT of the environment, else gpu-results)
#
# It runs from a checkout where `npm run build` and `npm run cuda:build` have been, or from the folder that
# `node bench/gpu/bundle.mjs` makes, which has its own Node and wants nothing of the machine but a driver. Python with
# PyTorch, compute-sanitizer and ncu are used where they are. Every phase has a limit, results are lines of JSON that are
# appended after each case, and the table is printed at the end of whatever was measured. Ends with 3 without a device.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:-${OUT:-gpu-results}}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
lines=$out/lines.jsonl
log=$out/log.txt
details=$out/details # becomes one archive at the end
mkdir -p "$details"
limit=${BATON_GPU_SECONDS:-530}
: >>"$lines"
SECONDS=0

exec 3>&1 # the terminal, also where a signal is heard while a phase writes elsewhere
say() { echo "gpu: [${SECONDS}s] $*" | tee -a "$log" >&3; }
text() { printf '%s' "$1" | tr -d '\000-\037"\\' | cut -c1-300; }
note() { # suite, state, words
  printf '{"suite":"%s","state":"%s","words":"%s"}\n' "$1" "$2" "$(text "$3")" >>"$lines"
}

# Runs a command for at most so many seconds, and never past the limit of all; 124: it was stopped. Waited for in the
# background: a signal to the script is heard at once.
child=
within() {
  local most=$1
  shift
  local left=$((limit - SECONDS))
  if ((left < 5)); then return 124; fi
  timeout -k 5 "$((most < left ? most : left))" "$@" &
  child=$!
  wait "$child"
  local status=$?
  child=
  return "$status"
}

program() { # the first of its places
  local place
  for place in "$root/bin/$1" "$root/build-cmake/linux-x64-release-cuda/$1"; do
    if [[ -x $place ]]; then
      echo "$place"
      return
    fi
  done
}

print_table() {
  if [[ -n ${node:-} && -f $root/bench/build/bench/gpu/main.js ]]; then
    "$node" "$root/bench/build/bench/gpu/main.js" "$lines" $(ls "$out"/engine*.json 2>/dev/null) 2>>"$log" | tee "$out/table.txt" >&3
  else
    say "no Node to print the table with: the figures are in $lines"
  fi
  tar -C "$out" -czf "$out/details.tgz" details && rm -rf "$details"
  say "done, results are in $out"
}

# ---- 0: what there is
probe() {
  note run begun "commit $(cat "$root/commit" 2>/dev/null || git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown), $(date -u +%FT%TZ)"
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader >"$details/nvidia-smi.txt" 2>&1 &&
    note machine smi "$(head -1 "$details/nvidia-smi.txt")"
  node=$(program node)
  if [[ -z $node && -f $root/bin/node.xz ]] && xz -dkc "$root/bin/node.xz" >"$root/bin/node"; then
    chmod +x "$root/bin/node"
    node=$root/bin/node
  fi
  [[ -n $node ]] || node=$(command -v node || true)
  bench=$(program baton_gpu_bench)
  tests=$(program baton_gpu_tests)
  python=$(command -v python3 || true)
  say "Node: ${node:-none}; benchmark: ${bench:-none}; Python: ${python:-none}"
  if [[ -z $bench || -z $tests ]]; then
    say "baton_gpu_bench is not built: npm run cuda:build, or a folder of bench/gpu/bundle.mjs"
    exit 2
  fi
}

ceilings() { # also tells whether there is a device
  local name status why
  for name in "launch gap" copy "gemm bf16"; do
    within 20 "$bench" --shapes "$here/shapes.json" --out "$lines" "$name" >"$details/ceilings.txt" 2>&1
    status=$?
    why=$(tail -1 "$details/ceilings.txt")
    case $status in
    0) ;;
    3)
      say "$why"
      note run "no device" "$why"
      exit 3
      ;;
    *) note phase failed "ceiling $name: $why" ;;
    esac
  done
}

# ---- 1: the library as users load it
load() {
  [[ -n $node ]] || { note phase left-out "doctor: no Node"; return; }
  within 30 "$node" "$root/dist/cli/main.js" doctor --json >"$details/doctor.json" 2>>"$log"
  note phase "$([[ $? == 0 ]] && echo passed || echo failed)" "doctor"
}

# ---- 2: correctness on the device
correctness() {
  local status passed failed skipped
  within 90 "$tests" >"$details/tests.jsonl" 2>>"$log"
  status=$?
  passed=$(grep -c '"status":"passed"' "$details/tests.jsonl")
  failed=$(grep -c '"status":"failed"' "$details/tests.jsonl")
  skipped=$(grep -c '"status":"skipped"' "$details/tests.jsonl")
  say "tests on the device: $passed passed, $failed failed, $skipped skipped, ended with $status"
  note tests "$([[ $status == 0 && $failed == 0 && $passed != 0 ]] && grep -q '"done"' "$details/tests.jsonl" && echo passed || echo failed)" \
    "$passed passed, $failed failed, $skipped skipped, ended with $status"
}

# ---- 3: faults that tests do not see, on few rows
sanitizer() {
  local tool status
  command -v compute-sanitizer >/dev/null || { note phase left-out "compute-sanitizer: not installed"; return; }
  for tool in memcheck initcheck synccheck racecheck; do
    within 15 compute-sanitizer --tool "$tool" --error-exitcode 9 "$bench" --shapes "$here/shapes.json" --tiny --samples 1 \
      --out "$details/sanitizer-$tool.jsonl" >"$details/sanitizer-$tool.txt" 2>&1
    status=$?
    say "compute-sanitizer $tool: ended with $status"
    note sanitizer "$(case $status in 0) echo passed ;; 124) echo cut-short ;; *) echo failed ;; esac)" "$tool ended with $status: $(tail -1 "$details/sanitizer-$tool.txt")"
  done
}

# ---- 4: figures. Our kernels, whole models, the peers of both, our kernels again: clocks change.
kernels() {
  within 45 "$bench" --shapes "$here/shapes.json" --out "$lines" 2>>"$log" || note phase failed "kernels ended with $?"
}

peers() {
  [[ -n $python ]] || { note phase left-out "peers: no Python"; return; }
  within 170 "$python" "$here/peers.py" --out "$lines" --samples 15 --budget 150 2>"$details/peers.txt" ||
    note phase failed "peers ended with $?: $(tail -1 "$details/peers.txt")"
}

engine() {
  [[ -n $node && -f $root/bench/build/bench/runner/main.js ]] || { note phase left-out "engine: no Node, or bench/ is not compiled"; return; }
  within 130 "$node" "$root/bench/build/bench/runner/main.js" --suite gpu --device cuda --rivals none --quick --patience 0 \
    --models "${BATON_GPU_MODELS:-/dev/shm/baton-gpu-models}" --json "$out/engine.json" >>"$log" 2>&1
  note phase ran "engine, ended with $?"
}

# ---- 5: where the time goes in three kernels
profile() {
  local name kernel file
  command -v ncu >/dev/null || { note phase left-out "ncu: not installed"; return; }
  while IFS=: read -r kernel name; do
    file=$details/ncu-${name// /-}.txt
    within 25 ncu --clock-control none --launch-count 1 -k "regex:$kernel" --section SpeedOfLight \
      --section MemoryWorkloadAnalysis --section WarpStateStats --section Occupancy \
      "$bench" --shapes "$here/shapes.json" --samples 1 --out /dev/null "$name" >"$file" 2>&1 </dev/null ||
      note phase failed "ncu $name ended with $?"
  done <<'LIST'
attendTiles:attend prefill d128
attendSlots:attend decode 252 MB
linearInt8:linear Q4_0 x1
LIST
}

# A signal ends the phase that runs, and what there is is told.
trap '[[ -n $child ]] && kill "$child" 2>/dev/null; exit 143' TERM INT
trap print_table EXIT
probe
for phase in ceilings load correctness sanitizer kernels engine peers kernels profile; do
  say "$phase"
  "$phase"
done
