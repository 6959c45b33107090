#!/usr/bin/env bash
# Says which of the named tools are missing for the tests: SKIPPED on a developer's machine, FAIL under CI=true.
set -euo pipefail

missing=()
for tool in "$@"; do
	command -v "$tool" >/dev/null || missing+=("$tool")
done
[ "${#missing[@]}" -eq 0 ] && exit 0

word=SKIPPED
[ "${CI:-}" = true ] && word=FAIL
for tool in "${missing[@]}"; do
	case $tool in
	gcc) what="the race detector" ;;
	chromium) what="the browser tests of the report" ;;
	*) what="tests" ;;
	esac
	echo "$word: $what: $tool is not installed: run 'make deps' (Debian, as root), or install $tool yourself"
done
[ "$word" = SKIPPED ]
