#!/bin/sh
# tarball.sh ZEROFS OUT: packs OUT/zerofs-VERSION-linux-ARCH.tar.gz: bin, completion, documents.
set -eu
zerofs=$1 out=$2
name="zerofs-$("$zerofs" --version)-linux-$(uname -m)"
root="$out/$name"
rm -rf "$root"
install -d "$root/bin" "$root/share/bash-completion/completions" "$root/share/zsh/site-functions" \
  "$root/share/fish/vendor_completions.d" "$root/share/doc/zerofs"
strip -o "$root/bin/zerofs" "$zerofs"
"$zerofs" --generate-completion-script bash > "$root/share/bash-completion/completions/zerofs"
"$zerofs" --generate-completion-script zsh > "$root/share/zsh/site-functions/_zerofs"
"$zerofs" --generate-completion-script fish > "$root/share/fish/vendor_completions.d/zerofs.fish"
cp -r README.md LICENSE CHANGELOG.md SECURITY.md docs "$root/share/doc/zerofs/"
tar -C "$out" --owner=0 --group=0 --sort=name -czf "$out/$name.tar.gz" "$name"
rm -rf "$root"
ls -l "$out/$name.tar.gz"
