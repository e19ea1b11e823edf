#!/bin/sh
# libisal.sh OUT: makes OUT/libisal.a from the distribution's own source package, whose -dev package has no static library.
set -eu
mkdir -p "$1"
out=$(cd "$1" && pwd)
[ ! -e "$out/libisal.a" ] || { echo "$out/libisal.a is already there"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
apt-get indextargets --format '$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)' |
  awk '$1 == "Packages" && $4 == "main" { print "deb-src", $2, $3, $4 }' | sort -u > "$work/sources.list"
cd "$work"
set -- -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
  -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=
apt-get "$@" update
apt-get "$@" source --download-only "libisal-dev=$(dpkg-query -W -f '${Version}' libisal-dev)"
tar xf ./*.orig.tar.* -C source --strip-components=1
make -s -C source -f Makefile.unx lib > build.log 2>&1 || { cat build.log; exit 1; }
mv source/bin/isa-l.a "$out/libisal.a"
echo "$out/libisal.a: $(wc -c < "$out/libisal.a") bytes"
