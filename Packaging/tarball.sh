#!/bin/sh
# tarball.sh ZEROFS GENERATE_MANUAL OUT: packs OUT/zerofs-VERSION-linux-ARCH.tar.gz: what install.sh installs, and the documents.
set -eu
zerofs=$1 manual=$2 out=$3
name="zerofs-$("$zerofs" --version)-linux-$(uname -m)"
root="$out/$name"
rm -rf "$root"
"$(dirname "$0")/install.sh" "$zerofs" "$manual" "$root"
strip "$root/bin/zerofs"
install -d "$root/share/doc/zerofs"
cp -r README.md LICENSE CHANGELOG.md SECURITY.md docs "$root/share/doc/zerofs/"
tar -C "$out" --owner=0 --group=0 --sort=name -czf "$out/$name.tar.gz" "$name"
rm -rf "$root"
ls -l "$out/$name.tar.gz"
