#!/usr/bin/env bash
# The newcomer's trial: a minimal Debian with only Node, Python, a C++ compiler, CMake and ninja,
# a fresh clone of HEAD in it, and the README's commands, each with its time.
#
#   sudo scripts/try-fresh.sh [--keep] FOLDER [-- COMMAND...]
#
#   FOLDER      where the Debian goes; must not exist yet, or be one that --keep left behind
#   --keep      leave it there: the next trial in it starts from a fresh clone but finds the
#               system packages and the user's cache of the trial before
#   COMMAND     run this in the clone instead of `npm run demo`, `npm run demo`, `npm test`
#
# Needs root, debootstrap, git and a running Node. How this machine reaches its registries (apt
# sources and proxies, certificates, .npmrc, pip.conf, PIP_* and npm_config_* variables) is carried
# in; nothing else of it is.
set -euo pipefail

. "$(dirname "$0")/bare-debian.sh"

arguments=("$@") command=()
while (($#)); do
  case $1 in
    --keep) keep=yes ;;
    --) shift; command=("$@"); break ;;
    -*) usage ;;
    *) [[ -z $root ]] || usage; root=$1 ;;
  esac
  shift
done
begin "${arguments[@]}"

tools() {
  inside apt-get update -q
  inside DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3 g++ cmake ninja-build
  copy_node
}

minimal_debian
if [[ ! -e $root/usr/local/bin/npx ]]; then
  echo "== Node, Python, g++, CMake, ninja"
  tools >/dev/null
fi

rm -rf "$root/root/faiss-vision"
git clone -q --no-hardlinks "$repo" "$root/root/faiss-vision"
echo "== a fresh clone of $(git -C "$repo" rev-parse --short HEAD), $(nproc) cores, Node $(inside node --version)"

timed() {
  local begin=$EPOCHREALTIME status=0
  echo "== $*"
  inside bash -c 'cd /root/faiss-vision && exec "$@"' _ "$@" </dev/null || status=$?
  awk -v a="$begin" -v b="$EPOCHREALTIME" -v c="$*" -v s="$status" \
    'BEGIN { printf "== %s: %.1f s, exit code %d\n", c, b - a, s }'
  ((status == 0)) || failed=1
}

failed=0
if ((${#command[@]})); then
  timed "${command[@]}"
else
  timed npm run demo
  timed npm run demo
  timed npm test
fi
exit "$failed"
