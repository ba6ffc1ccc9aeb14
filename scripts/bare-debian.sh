# What the trials scripts/try-*.sh share: a minimal Debian in the folder $root, and a way to run in it.
# Sourced by each; once their arguments are read into $root, $keep and $suite, they call `begin` with all of them.

keep=no root='' suite=bookworm
trial=$(basename "$0" .sh)
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 2; }
fail() { echo "$trial: $*" >&2; exit 1; }

begin() { # ARGUMENT...: those of the script
  [[ -n $root ]] || usage
  [[ $(id -u) == 0 ]] || fail "needs root: sudo $0 $root"
  for tool in debootstrap git node npm unshare; do
    command -v "$tool" >/dev/null || fail "'$tool' is not installed"
  done
  root=$(realpath -m "$root")
  repo=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
  marker=$root/.faiss-vision-trial
  [[ ! -e $root || -e $marker || -z $(ls -A "$root") ]] ||
    fail "$root is there already and is no earlier trial; name a new folder"

  # Every mount below lives in a mount namespace of its own and goes with it, however this script ends.
  if [[ ${FAISS_VISION_TRIAL_NAMESPACE:-} != yes ]]; then
    node_binary=$(node -p process.execPath) npm_folder=$(realpath "$(npm root -g 2>/dev/null)/npm") \
      npm_settings=$(npm config get globalconfig 2>/dev/null) FAISS_VISION_TRIAL_NAMESPACE=yes \
      unshare --mount --propagation private bash "$0" "$@" && status=0 || status=$?
    # Here, outside the namespace, nothing is mounted below $root: removing it cannot reach the machine's /dev.
    [[ $keep == yes || ! -e $marker ]] || rm -rf --one-file-system "$root"
    exit "$status"
  fi
}

inside() { chroot "$root" /usr/bin/env -i "${settings[@]}" "$@"; }

# PATH and HOME are a newcomer's; of this machine's environment only what registries need.
settings=(PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}")
while IFS='=' read -r name value; do
  settings+=("$name=$value")
done < <(env | grep -iE '^(https?_proxy|no_proxy|all_proxy|PIP_[A-Z_]+|npm_config_(registry|cafile|https?_proxy|proxy|noproxy)|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE)=' || true)

copy_in() { # PATH...: the same files at the same place inside
  local path
  for path in "$@"; do
    [[ -e $path ]] || continue
    mkdir -p "$root$(dirname "$path")"
    cp -rL "$path" "$root$(dirname "$path")/"
  done
}

base_system() {
  local mirror
  # The mirror that this machine uses, if it is a Debian itself; else debootstrap's own default.
  mirror=$(. /etc/os-release; [[ $ID == debian ]] && sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+).*/\2/p' \
    /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1) || true
  eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null || true)"
  [[ -z ${proxy:-} ]] || export http_proxy=$proxy
  debootstrap --variant=minbase "$suite" "$root" ${mirror:+"$mirror"}
  touch "$marker"
}

minimal_debian() { # unless an earlier trial left it
  if [[ ! -e $marker ]]; then
    echo "== a minimal Debian $suite in $root"
    base_system >/dev/null || fail "debootstrap failed"
  fi
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  registry_settings
}

registry_settings() {
  local name
  copy_in /etc/resolv.conf /etc/hosts /usr/local/share/ca-certificates /etc/ssl/certs/ca-certificates.crt \
    /etc/pip.conf /root/.config/pip/pip.conf /root/.pip/pip.conf
  # Settings of a Node installation (nodedir, prefix) would make the trial depend on this machine's.
  [[ ! -e ~/.npmrc ]] || grep -vE '^(nodedir|prefix|cache) *=' ~/.npmrc >"$root/root/.npmrc" || true
  mkdir -p "$root/usr/local/etc"
  [[ ! -e $npm_settings ]] || grep -vE '^(nodedir|prefix|cache) *=' "$npm_settings" >"$root/usr/local/etc/npmrc" || true
  # A certificate or a folder of wheels that a variable names must be there as well.
  for name in "${settings[@]:4}"; do
    [[ ${name#*=} != /* || -e $root${name#*=} ]] || copy_in "${name#*=}"
  done
  if [[ $(. /etc/os-release; echo "${VERSION_CODENAME:-}") == "$suite" ]]; then
    # Not beside debootstrap's own list, or every source would be there twice.
    rm -rf "$root/etc/apt/sources.list"
    copy_in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/keyrings /etc/apt/trusted.gpg.d \
      /etc/apt/auth.conf /etc/apt/auth.conf.d /usr/share/keyrings
  fi
  apt-config dump | grep -E '^Acquire::(http|https|Retries|ForceIPv)' >"$root/etc/apt/apt.conf.d/90-trial" || true
}

copy_node() { # this machine's Node, binary and npm and nothing else: Debian's own nodejs is too old
  install -D "$node_binary" "$root/usr/local/bin/node"
  mkdir -p "$root/usr/local/lib/node_modules"
  cp -rL "$npm_folder" "$root/usr/local/lib/node_modules/"
  ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  ln -sf ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
  inside npm --version >/dev/null || fail "this machine's Node does not run in a plain Debian $suite: $node_binary"
}
