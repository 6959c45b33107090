#!/usr/bin/env bash
# Installs the named Debian packages without letting any of them start a service: nginx is run by bench-load itself.
set -euo pipefail

policy=/usr/sbin/policy-rc.d
if [ "$(id -u)" -eq 0 ] && [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 0755 "$policy"
	trap 'rm -f "$policy"' EXIT
fi
"$(dirname "$0")/../deps.sh" "$@"
