#!/usr/bin/env bash
# The systemd unit's trial: a minimal Debian with systemd and Node in it, the packed tarballs installed as docs/service.md says,
# booted as a container, and the unit started, used, killed and stopped there.
#
#   sudo scripts/try-unit.sh [--keep] FOLDER
#
#   FOLDER      where the Debian goes; must not exist yet, or be one that --keep left behind
#   --keep      leave it there for the next trial
#
# Needs root, debootstrap, git, systemd-nspawn (package systemd-container), a running Node and what `npm run pack` made in
# build/packages. How this machine reaches its registries is carried in, as scripts/try-fresh.sh does.
set -euo pipefail

. "$(dirname "$0")/bare-debian.sh"

arguments=("$@")
while (($#)); do
  case $1 in
    --keep) keep=yes ;;
    -*) usage ;;
    *) [[ -z $root ]] || usage; root=$1 ;;
  esac
  shift
done
command -v systemd-nspawn >/dev/null || fail "'systemd-nspawn' is not installed"
begin "${arguments[@]}"

version=$(node -p "require('$repo/package.json').version")
tarballs=("$repo"/build/packages/faiss-vision{,-linux-x64,-vision-linux-x64,-models,-service}-"$version.tgz")
for file in "${tarballs[@]}"; do [[ -e $file ]] || fail "$file is not there: npm run pack makes it"; done
photos=$(node -p "require('$repo/dist/models/cache.js').photosFolder()")/face_recognition
[[ -e $photos/obama.jpg ]] || fail "the demo's photos are not in $photos: npm run setup fetches them"

bin=/opt/faiss-vision/node_modules/.bin/faiss-vision etc=/etc/faiss-vision state=/var/lib/private/faiss-vision log=/var/log/private/faiss-vision

minimal_debian
if [[ ! -e $root/usr/local/bin/npx ]]; then
  echo "== systemd, ffmpeg, Node"
  inside apt-get update -q >/dev/null
  inside DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends ca-certificates systemd systemd-sysv dbus curl ffmpeg >/dev/null
  copy_node
fi

echo "== $(basename "${tarballs[0]}") and its companions"
rm -rf "$root"/{var/log/journal/*,etc/systemd/system/*/faiss-vision.service,root/packages,opt/faiss-vision,srv/*,"$etc"}
rm -rf "$root"/var/{lib,cache,log}/{,private/}faiss-vision
mkdir -p "$root"/{root/packages,srv/door,"$etc"}
cp "${tarballs[@]}" "$root/root/packages/"
# Scripts are left out: the only one is better-sqlite3's, which fetches its publisher's build. The one of this clone takes its place.
inside sh -c 'npm install --prefix /opt/faiss-vision --ignore-scripts --no-fund --no-audit --loglevel=error /root/packages/*.tgz'
sqlite=node_modules/better-sqlite3/build/Release/better_sqlite3.node
install -D "$repo/$sqlite" "$root/opt/faiss-vision/$sqlite"
cp "$root/opt/faiss-vision/node_modules/@faiss-vision/service/deploy/faiss-vision.service" "$root/etc/systemd/system/"
cp "$photos/obama.jpg" "$root/srv/ada.jpg"
for i in {10..29}; do cp "$photos/obama.jpg" "$root/srv/door/a$i.jpg"; cp "$photos/biden.jpg" "$root/srv/door/b$i.jpg"; done
inside ffmpeg -v error -loop 1 -i /srv/ada.jpg -t 3 -r 10 -vf scale=640:-2 -pix_fmt yuv420p /srv/film.mp4
configure() { # LINE...
  printf '%s\n' 'data: /var/lib/faiss-vision' "$@" >"$root$etc/faiss-vision.yaml"
}
cameras=('cameras:' '  - { id: door, source: /srv/door, repeat: true }' '  - { id: film, source: /srv/film.mp4, reader: ffmpeg, repeat: true }')

umount "$root/dev" -l && umount "$root/proc" # the container has its own
# Where this machine has version 1 of control groups, the container gets version 2 all the same, of this namespace only.
[[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]] || mount -t cgroup2 none /sys/fs/cgroup
group=/sys/fs/cgroup/faiss-vision-trial
mkdir -p "$group"
(echo "$BASHPID" >"$group/cgroup.procs" && exec systemd-nspawn --quiet --boot --register=no --keep-unit --private-network \
  --console=pipe --directory="$root" </dev/null >"$root/root/boot.log" 2>&1) &
container=$!
halt() { # systemd-nspawn shuts the container down; what it left of its group goes from the leaves on
  kill "$container" 2>/dev/null && wait "$container" || true
  find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
}
trap halt EXIT

booted() { # COMMAND...
  nsenter --all --target "$(pgrep -P "$container")" -- /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root "$@"
}
within() { # SECONDS COMMAND...
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { booted journalctl -u faiss-vision -n 30 --no-pager || true; fail "not in time: $*"; }
    sleep 0.3
  done
}
holds() { "$@" >/dev/null || { booted journalctl -u faiss-vision -n 30 --no-pager; fail "does not hold: $*"; }; }
shows() { [[ $(booted systemctl show -p "$1" --value faiss-vision) == "$2" ]]; } # PROPERTY VALUE
api() { booted curl -fsS "http://localhost:8080/v1/$1" "${@:2}"; }              # PATH, what curl takes
answers() { api "$2" "${@:3}" | grep -qE "$1"; }                               # PATTERN PATH
logged() { booted journalctl -u faiss-vision -o cat --no-pager | grep -qE "$1"; }
token() { # OPTION...: as docs/service.md has it
  booted systemd-run -qPG --wait -p DynamicUser=yes -p User=faiss-vision -p StateDirectory=faiss-vision \
    -p EnvironmentFile=-$etc/secrets $bin serve --config $etc/faiss-vision.yaml "$@"
}

echo "== systemd $(inside systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') as process 1"
within 60 booted systemctl is-system-running
holds booted systemd-analyze verify faiss-vision.service

echo "== a configuration with a mistake: told with its line, and not tried again"
configure 'camera: []'
! booted systemctl start faiss-vision 2>/dev/null || fail "it started"
holds logged 'faiss-vision.yaml:2:1: camera: there is no such setting'
sleep 5
holds shows ExecMainStatus 78
holds shows NRestarts 0
holds shows ActiveState failed

echo "== open to other machines without a token: the same"
configure 'http: { host: 0.0.0.0 }'
! booted systemctl start faiss-vision 2>/dev/null || fail "it started"
holds logged ERR_NO_TOKEN
holds shows ExecMainStatus 78

echo "== started is ready"
configure "${cameras[@]}" 'logs: { folder: /var/log/faiss-vision }'
holds booted systemctl enable --now faiss-vision
holds answers '"ready":true' ready
holds [ "$(booted stat -c %a $state/service.db)" = 640 ]
holds [ "$(booted find $state $log -user root)" = '' ]

echo "== a folder and a film are seen; who is enrolled is recognised"
within 60 answers '"camera":"door"' 'events?type=unknown'
within 60 answers '"camera":"film"' 'events?type=unknown'
holds api 'people?name=Ada' --data-binary @/srv/ada.jpg -H 'content-type: image/jpeg'
within 60 answers '"name":"Ada"' 'events?type=recognised&camera=film'

echo "== killed, it is started again and knows what it knew"
holds booted systemctl kill --signal=KILL --kill-whom=main faiss-vision
within 60 shows NRestarts 1
within 60 answers '"ready":true' ready
holds answers '"name":"Ada"' people
holds booted sh -c '[ "$(ls /var/log/faiss-vision | wc -l)" -gt 0 ]'

echo "== stopped, it ends by itself"
holds booted systemctl stop faiss-vision
holds shows Result success
holds shows ActiveState inactive
holds booted sh -c 'grep -q "the service stopped" /var/log/faiss-vision/*'
holds booted test ! -e /sys/fs/cgroup/system.slice/faiss-vision.service # nor does anything of it run any more

echo "== a token, with a secret in the configuration; the log in the journal"
configure 'http: { host: 0.0.0.0 }' 'webhooks: [{ name: a, url: "http://localhost:9/", secret: "${HOOK_SECRET}" }]'
echo 'HOOK_SECRET=0123456789abcdef' >"$root$etc/secrets"
chmod 600 "$root$etc/secrets"
secret=$(token --add-token trial --scopes read,people)
holds booted systemctl start faiss-vision
holds logged '"msg":"the service runs"'
! api people >/dev/null 2>&1 || fail "people without a token"
holds answers '"name":"Ada"' people -H "authorization: Bearer $secret"

echo "== the machine's own end"
kill "$container" && wait "$container" || true
holds grep -q 'the service stopped' <(inside journalctl -D /var/log/journal -u faiss-vision -o cat --no-pager)
echo "== all of it worked"
