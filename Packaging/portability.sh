#!/bin/sh
# portability.sh DIST [ROOTS]: the tarball and the wheel of DIST in bare roots of Debian 11, 12 and 13, and a clean clone built in those
# of 12 and 13. As root.
#
# Each root is made by debootstrap and has fuse3 and Python beside the base system, no library of ours. In each, the tarball's
# program mounts as root and as nobody, and the wheel is installed into a fresh environment. What is read there has to be what is
# read here. With ROOTS, a directory, the roots are kept and used again. SUITES="bullseye …" tries these only.
set -eu
dist=$(cd "$1" && pwd)
roots=${2:-$(mktemp -d)}
top=$(cd "$(dirname "$0")/.." && pwd)
mirror=$(apt-get indextargets --format '$(CREATED_BY) $(REPO_URI) $(COMPONENT)' |
  awk '$1 == "Packages" && $3 == "main" { print $2; exit }')
[ $# -eq 2 ] || trap 'rm -rf "$roots"' EXIT

cat > "$roots/read" <<'E2'
# read ZEROFS MODEL: the checksum of all that a mount of MODEL holds.
set -eu
point=$(mktemp -d)
"$1" mount "$2" "$point" --tp 2 2>/dev/null
(cd "$point" && find . -type f | LC_ALL=C sort | xargs cat | sha256sum)
"$1" umount "$point"
E2
expected=$(sh "$roots/read" "$dist/release/zerofs" "$top/Tests/fixtures/shared/golden/hf/llama_bf16")

# attempt WHAT COMMAND…: the command in the root has to print what was read here
attempt() {
  what=$1
  shift
  actual=$(chroot "$root" "$@") || actual="status $?"
  if [ "$actual" != "$expected" ]; then echo "$suite, $what: FAILED: $actual"; exit 1; fi
  echo "$suite (glibc $(chroot "$root" ldd --version | sed -n '1s/.* //p')), $what: the same bytes"
}

# What Swift's toolchain needs itself: swift.org, "Installation via tarball".
swift_packages="binutils ca-certificates git g++ libc6-dev libcurl4 libedit2 libncurses6 libsqlite3-0 libxml2-dev libz3-dev make tzdata"
swift_bin=$(dirname "$(readlink -f "$(command -v swift)")")

# build_clone: in the root, from what is committed
build_clone() {
  mkdir -p "$root/swift" "$root/clone"
  mount --rbind "$swift_bin/.." "$root/swift"
  mount --rbind /dev "$root/dev"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  git -C "$top" archive HEAD | tar -C "$root/clone" -x
  mkdir -p "$root/clone/.build"
  cp -r "$dist/checkouts" "$dist/repositories" "$dist/workspace-state.json" "$root/clone/.build/"
  cp "$top/Package.resolved" "$root/clone/"
  chroot "$root" sh -ec "apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $swift_packages
    cd /clone && PATH=/swift/bin:\$PATH make build" > "$roots/log" 2>&1 || { tail -20 "$roots/log"; return 1; }
}

for suite in ${SUITES:-bullseye bookworm trixie}; do
  root="$roots/$suite"
  if [ ! -e "$root/usr/bin/fusermount3" ]; then
    debootstrap --variant=minbase --include=fuse3,python3-venv "$suite" "$root" "$mirror" > "$roots/log" 2>&1 ||
      { tail -5 "$roots/log"; exit 1; }
  fi
  rm -rf "$root/model" "$root/venv"
  cp -rL "$top/Tests/fixtures/shared/golden/hf/llama_bf16" "$root/model"
  cp "$roots/read" "$root/read"
  cp "$dist"/zerofs-*.whl "$root/tmp/"
  tar -C "$root/usr/local" --strip-components=1 -xzf "$(ls "$dist"/zerofs-*.tar.gz)"
  rm -f "$root/dev/fuse" && mknod -m 666 "$root/dev/fuse" c 10 229
  ln -sf /proc/self/mounts "$root/etc/mtab" # as an installed system has it, for fusermount3
  mount -t proc proc "$root/proc"
  trap 'umount "$root/proc"; [ $# -eq 2 ] || rm -rf "$roots"' EXIT
  attempt "tarball, root" sh /read /usr/local/bin/zerofs /model
  attempt "tarball, nobody" setpriv --reuid 65534 --regid 65534 --clear-groups sh /read /usr/local/bin/zerofs /model
  chroot "$root" sh -c 'python3 -m venv /venv && /venv/bin/pip install -q --no-index --disable-pip-version-check /tmp/zerofs-*.whl'
  attempt "wheel" sh /read /venv/bin/zerofs /model
  chroot "$root" /venv/bin/python3 -c 'import importlib.util as u; assert u.find_spec("zerofs_megatron.__main__")'
  if [ "$suite" != bullseye ]; then
    trap 'umount -lR "$root/swift" "$root/dev" "$root/proc"; [ $# -eq 2 ] || rm -rf "$roots"' EXIT
    build_clone
    attempt "a clean clone" sh /read /clone/.build/release/zerofs /model
    umount -lR "$root/swift" "$root/dev"
    rm -rf "$root/clone"
  fi
  umount "$root/proc"
  trap '[ $# -eq 2 ] || rm -rf "$roots"' EXIT
done
