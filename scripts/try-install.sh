#!/usr/bin/env bash
# The installed package's trial: a minimal Debian with only Node and npm in it, no compiler, no Python, no library of ours;
# the packed tarballs are installed there, and search and recognise faces at once.
#
#   sudo scripts/try-install.sh [--keep] [--suite NAME] [--node FILE] FOLDER
#
#   FOLDER        where the Debian goes; must not exist yet, or be one that --keep left behind
#   --keep        leave it there for the next trial
#   --suite NAME  another Debian than bookworm: bullseye has an older glibc, where faces are left out
#   --node FILE   another Node than this machine's
#
# Needs root, debootstrap, git, a running Node and what `npm run pack` made in build/packages. How this machine reaches its
# registries is carried in, as scripts/try-fresh.sh does; npm fetches the package's own dependencies there.
set -euo pipefail

. "$(dirname "$0")/bare-debian.sh"

arguments=("$@") other_node=''
while (($#)); do
  case $1 in
    --keep) keep=yes ;;
    --suite) suite=${2:?}; shift ;;
    --node) other_node=${2:?}; shift ;;
    -*) usage ;;
    *) [[ -z $root ]] || usage; root=$1 ;;
  esac
  shift
done
begin "${arguments[@]}"

packages=$repo/build/packages
version=$(node -p "require('$repo/package.json').version")
tarballs=("$packages/faiss-vision-$version.tgz" "$packages"/faiss-vision-{linux-x64,vision-linux-x64,models}-"$version.tgz")
for file in "${tarballs[@]}"; do [[ -e $file ]] || fail "$file is not there: npm run pack makes it"; done
photos=$(node -p "require('$repo/dist/models/cache.js').photosFolder()")/face_recognition
[[ -e $photos/obama.jpg ]] || fail "the demo's photos are not in $photos: npm run setup fetches them"

minimal_debian
[[ -z $other_node ]] || node_binary=$(realpath "$other_node")
copy_node
for tool in cc gcc c++ cmake python3 pip; do
  ! inside bash -c "command -v $tool" >/dev/null || fail "$tool is in $root, so this proves nothing"
done

rm -rf "$root/root/app" "$root/root/.cache"
mkdir -p "$root/root/app/photos"
cp "${tarballs[@]}" "$repo"/test/support/installed-{search,faces}.cjs "$root/root/app/"
cp "$photos"/{obama,obama2,biden}.jpg "$root/root/app/photos/"
echo "== Debian $suite, glibc $(inside bash -c 'ldd --version' | sed -n '1s/.* //p'), Node $(inside node --version)"

timed() {
  local begin=$EPOCHREALTIME status=0
  echo "== $*"
  inside bash -c 'cd /root/app && exec "$@"' _ "$@" </dev/null || status=$?
  awk -v a="$begin" -v b="$EPOCHREALTIME" -v s="$status" 'BEGIN { printf "   %.1f s, exit code %d\n", b - a, s }'
  ((status == 0)) || fail "this failed"
}
expect() { # PATTERN COMMAND...
  local pattern=$1 text
  shift
  text=$(timed "$@")
  echo "$text"
  grep -qE "$pattern" <<<"$text" || fail "expected $pattern"
}

name() { echo "./$(basename "$1")"; }
timed npm init -y >/dev/null
timed npm install --no-fund --omit=dev "$(name "${tarballs[1]}")" "$(name "${tarballs[0]}")"
expect '^\[7,"0 1 2 3 ' node installed-search.cjs
expect 'ERR_VISION_UNAVAILABLE .*npm install @faiss-vision/vision-linux-x64@' node installed-faces.cjs photos/obama.jpg photos/obama2.jpg photos/biden.jpg
timed npm ls --omit=dev
# Not every registry answers it.
audit=$(inside bash -c 'cd /root/app && npm audit --omit=dev' 2>&1 </dev/null) || true
case $audit in
  *'found 0 vulnerabilities'*) echo "== npm audit: found 0 vulnerabilities" ;;
  *'audit endpoint returned an error'*) echo "== npm audit: NOT CHECKED, this registry has none" ;;
  *) fail "npm audit: $audit" ;;
esac
if [[ $suite == bookworm ]]; then
  timed npm install --no-fund --omit=dev "$(name "${tarballs[2]}")" "$(name "${tarballs[3]}")"
  expect '"same":true,"other":false' node installed-faces.cjs photos/obama.jpg photos/obama2.jpg photos/biden.jpg
  [[ ! -e $root/root/.cache/faiss-vision ]] || fail "something was fetched at run time: $(ls "$root/root/.cache/faiss-vision")"
fi
echo "== all of it worked"
