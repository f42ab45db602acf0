#!/usr/bin/env bash
# Builds the image of deploy/Dockerfile where no registry can be reached, and tries it: npm run release && npm run image
#
# The base images are made from Debian's packages and the Node of this repository, under the names that the Dockerfile has. Needs
# Debian, root, buildah, debootstrap and a mirror of Debian. Prints the size of the image, and runs it without a container engine.
set -euo pipefail
cd "$(dirname "$0")/.."
release=${1:-dist/release}
node=$(readlink -f node_modules/node/bin/node)
npm=$(readlink -f "$(dirname "$(readlink -f "$(command -v npm)")")/..")
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo "== base images"
debootstrap --variant=minbase bookworm "$work/install" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
runtime="$work/runtime"
mkdir -p "$runtime"/{nodejs/bin,etc,tmp,home/nonroot}
# What Node is linked with, and nothing that could start a program.
chroot "$work/install" dpkg -L libc6 libgcc-s1 libstdc++6 | while read -r file; do
  if [ -f "$work/install$file" ]; then echo ".$file"; fi
done | tar -C "$work/install" --files-from=- -c | tar -C "$runtime" -x --keep-directory-symlink
for folder in lib lib64; do [ -e "$runtime/$folder" ] || ln -s "usr/$folder" "$runtime/$folder"; done
install -m 755 "$node" "$runtime/nodejs/bin/node"
echo 'nonroot:x:65532:65532::/home/nonroot:/sbin/nologin' >"$runtime/etc/passwd"
echo 'nonroot:x:65532:' >"$runtime/etc/group"
chmod 1777 "$runtime/tmp"
install -m 755 "$node" "$work/install/usr/local/bin/node"
mkdir -p "$work/install/usr/local/lib/node_modules"
cp -r "$npm" "$work/install/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/install/usr/local/bin/npm"

make_base() {
  local container
  container=$(buildah from scratch)
  buildah copy --quiet "$container" "$1" / >/dev/null
  buildah config --user "$3" "$container"
  buildah commit --quiet --rm "$container" "$2" >/dev/null
}
make_base "$work/install" docker.io/library/node:24-bookworm-slim root
make_base "$runtime" gcr.io/distroless/nodejs24-debian12:nonroot 65532

echo "== image"
buildah build --pull-never --quiet --format docker --file deploy/Dockerfile --tag app-connections "$release"
buildah images app-connections

echo "== run: as process 1 and user 65532, without capabilities and network, on a read-only file system"
container=$(buildah from --pull-never app-connections)
mounted=$(buildah mount "$container")
trap 'buildah rm "$container" >/dev/null; rm -rf "$work"' EXIT
read_config() {
  buildah inspect --type image app-connections | "$node" -e "
    const { config } = JSON.parse(JSON.parse(require('node:fs').readFileSync(0, 'utf8')).Config ?? '{}');
    for (const each of config.$1) console.log(each);"
}
mapfile -t environment < <(read_config Env)
mapfile -t entrypoint < <(read_config Entrypoint)
mapfile -t check < <(read_config Healthcheck.Test)
run() {
  unshare --mount --net --pid --fork env -i "${environment[@]}" HOST=127.0.0.1 DATA_DIR=/tmp/data sh -c '
    /usr/bin/mount --bind "$0" "$0" && /usr/bin/mount -o remount,bind,ro "$0" && /usr/bin/mount -t tmpfs tmpfs "$0/tmp"
    /usr/sbin/ip link set lo up
    exec /usr/bin/unshare --root="$0" --setuid 65532 --setgid 65532 "$@"' "$mounted" "$@"
}
run "${entrypoint[@]}" version
run /nodejs/bin/node -e '
  const { existsSync, writeFileSync } = require("node:fs");
  if (process.pid !== 1 || process.getuid() !== 65532) throw new Error("it runs as another user");
  if (existsSync("/bin/sh")) throw new Error("it has a shell");
  try { writeFileSync("/app/x", ""); } catch (error) { console.log(`no shell; a write to /app fails with ${error.code}`); process.exit(); }
  throw new Error("the file system can be written");'
run env NODE_ENV=development true 2>/dev/null && { echo "it has programs" >&2; exit 1; }
environment+=(NODE_ENV=development)
run "${entrypoint[@]}" start >"$work/output" &
server=$!
isHealthy=no
for _ in $(seq 120); do
  # The shell, unshare, and in its namespace the server.
  inner=$(pgrep --parent "$(pgrep --parent "$server")" || true)
  if [ -n "$inner" ] && nsenter --target "$inner" --net --root --setuid 65532 --setgid 65532 "${check[@]:1}" 2>/dev/null; then
    isHealthy=yes
    break
  fi
  sleep 1
done
grep --max-count 1 'is ready' "$work/output"
started=$(date +%s)
kill -TERM "$inner"
wait "$server" && echo "healthy: $isHealthy; SIGTERM ended it with code 0 after $(($(date +%s) - started)) s"
