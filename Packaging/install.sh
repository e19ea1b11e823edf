#!/bin/sh
# install.sh ZEROFS GENERATE_MANUAL PREFIX: the program, its manual pages, zerofs_megatron, completion for bash, zsh and fish.
set -eu
zerofs=$1 manual=$2 prefix=$3
share="$prefix/share"
install -D -m 755 "$zerofs" "$prefix/bin/zerofs"
install -d "$share/zerofs" "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d"
cp -r "$(dirname "$0")/../Sources/MegatronExtension/zerofs_megatron" "$share/zerofs/"
find "$share/zerofs" -name __pycache__ -prune -exec rm -r {} +
"$manual" "$zerofs" --multi-page --output-directory "$share/man/man1"
for page in "$share"/man/man1/zerofs.*.1; do # git-style names: man zerofs-mount
  mv "$page" "$share/man/man1/zerofs-${page##*/zerofs.}"
done
"$zerofs" --generate-completion-script bash > "$share/bash-completion/completions/zerofs"
"$zerofs" --generate-completion-script zsh > "$share/zsh/site-functions/_zerofs"
"$zerofs" --generate-completion-script fish > "$share/fish/vendor_completions.d/zerofs.fish"
