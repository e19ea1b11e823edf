#!/bin/bash
# run.sh thread|address [SUITE…]: the Swift tests with ThreadSanitizer or AddressSanitizer built in, or some suites of them. Those of
# ZeroFSMountTests have daemons that serve many readers at once. Reports of all processes, daemons too, are collected: there must
# be none. First a canary, a daemon with just such a fault, shows that there would be one.
set -euo pipefail
cd "$(dirname "$0")/../.."
kind=$1; shift
build=.build-${kind:0:1}san
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
suppressions=$PWD/Tests/sanitizers/thread.supp
case $kind in
  # The daemon forks before it has threads. Without the second option no access by read(2), write(2) and the like is looked at.
  thread) export TSAN_OPTIONS="log_path=$reports/report suppressions=$suppressions ignore_interceptors_accesses=0 die_after_fork=0 exitcode=0"
          fault=race ;;
  # Swift's runtime keeps what it needs until the end: that is no leak.
  address) export ASAN_OPTIONS="log_path=$reports/report detect_leaks=0 handle_sigill=0"
           fault=overflow ;;
  *) echo "usage: run.sh thread|address [SUITE…]" >&2; exit 64 ;;
esac
# A sanitizer reports by itself.
export SWIFT_BACKTRACE=enable=no

swift build --build-tests --sanitize="$kind" --scratch-path "$build"

# The canary: a daemon that has the fault while it answers a reader, and that a signal ends, as all of them end.
canary=$(mktemp -d)
mkdir "$canary/sources" "$canary/mount"
head -c 4194304 /dev/urandom > "$canary/sources/a.bin"
head -c 100000 /dev/urandom > "$canary/sources/b.bin"
"$build/debug/MountFixture" "$canary/sources" "$canary/mount" --log-file "$canary/log"
stat "$canary/mount/$fault" >/dev/null 2>&1 || true
for process in $(pgrep -f "MountFixture $canary/sources"); do kill "$process"; done
while umount -l "$canary/mount" 2>/dev/null; do :; done
rm -rf "$canary"
if ! grep -qs "SUMMARY: .*Sanitizer" "$reports"/report.*; then
  echo "the canary's $fault was not found: the sanitizer does not work here" >&2
  exit 1
fi
rm "$reports"/report.*
echo "the canary's $fault was found in a daemon that serves a mount"

# XCTest's half of the runner has no tests, and does not start under AddressSanitizer.
status=0
swift test --skip-build --sanitize="$kind" --scratch-path "$build" --disable-xctest --enable-swift-testing ${1:+--filter "$(IFS='|'; echo "$*")"} || status=$?
if ls "$reports"/report.* >/dev/null 2>&1; then
  cat "$reports"/report.*
  echo "$(cat "$reports"/report.* | grep -c 'SUMMARY:') reports of the ${kind} sanitizer" >&2
  exit 1
fi
exit $status
