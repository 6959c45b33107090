#!/usr/bin/env bash
# Makes a bare Debian host fit for the kind driver: installs Docker and what bundles are built with, and starts Docker.
# Where the host lacks a capability, Docker's privileged containers cannot start, because Docker asks for every one that
# it knows: there runc is wrapped, so that what the host does not have is not asked for. Run as root; a second run
# changes nothing. "--undo" takes back what this script did, and nothing else.
set -euo pipefail

readonly state=/var/lib/meshproof-host # what was done, for --undo
readonly wrapper=/usr/local/lib/meshproof/runc
readonly log=/var/log/meshproof-dockerd.log
readonly packages=(docker.io iptables iproute2 jq libcap2-bin debootstrap python3-pip gcc libc6-dev)
readonly inotify=(fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288) # kind's documented needs

say() { echo "prepare-host: $*"; }
fail() {
	echo "prepare-host: $1" >&2
	echo "  $2" >&2
	exit 1
}
did() { # remembers one change
	mkdir -p "$state"
	echo "$*" >>"$state/done"
}

have_systemd() { [ -d /run/systemd/system ]; }
docker_up() { timeout 10 docker info >/dev/null 2>&1; }

install_packages() {
	local missing=()
	for p in "${packages[@]}"; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
	done
	if command -v dockerd >/dev/null; then # a Docker of the user's own is good enough
		local kept=()
		for p in "${missing[@]}"; do [ "$p" = docker.io ] || kept+=("$p"); done
		missing=("${kept[@]}")
	fi
	if [ "${#missing[@]}" -eq 0 ]; then
		say "packages are there: ${packages[*]}"
		return
	fi
	say "installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	# Without systemd Docker is started below, and not by its init script, which would mount control groups.
	local policy=/usr/sbin/policy-rc.d
	if ! have_systemd && [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 0755 "$policy"
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	apt-get update -qq
	local before brought
	before=$(installed)
	apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
	brought=$(comm -13 <(echo "$before") <(installed) | grep -vxF "$(printf '%s\n' "${missing[@]}")" | paste -sd' ' || true)
	[ -z "$brought" ] || did "dependencies $brought"
	did "packages ${missing[*]}"
}

# installed lists the packages that are, sorted.
installed() { dpkg-query -W -f '${Package} ${db:Status-Status}\n' | awk '$2 == "installed" {print $1}' | sort -u; }

raise_inotify() {
	for want in "${inotify[@]}"; do
		local key=${want%=*} value=${want#*=} now
		now=$(sysctl -n "$key")
		[ "$now" -ge "$value" ] && continue
		if sysctl -qw "$want"; then
			did "sysctl $key=$now"
			say "$key: $now -> $value"
		else
			say "$key is $now, and could not be raised to $value: clusters with many pods may fail with 'too many open files'"
		fi
	done
}

# lacking prints the capabilities that the kernel knows and this host does not have, as CAP_NAME, one a line.
lacking() {
	local bounding all=0 i
	bounding=$((16#$(awk '/^CapBnd/ {print $2}' /proc/self/status)))
	for ((i = 0; i <= $(cat /proc/sys/kernel/cap_last_cap); i++)); do all=$((all | 1 << i)); done
	local missing=$((all & ~bounding))
	[ "$missing" -eq 0 ] && return
	capsh --decode="$(printf '%016x' "$missing")" | sed 's/.*=//' | tr ',' '\n' | tr '[:lower:]' '[:upper:]'
}

# wrap_runc writes the wrapper. runc reads what a process may do from config.json in its bundle, and for a process that
# joins a container from the file after --process.
wrap_runc() {
	local names
	names=$(lacking | jq -R . | jq -sc .)
	mkdir -p "$(dirname "$wrapper")"
	cat >"$wrapper.new" <<WRAPPER
#!/usr/bin/env bash
# Written by Meshproof's hack/prepare-host.sh: runs runc without the capabilities that this host does not have.
set -euo pipefail
readonly lacking='$names'
strip() { # FILE, JSON PATH OF THE PROCESS
	[ -f "\$1" ] || return 0
	local out
	out=\$(mktemp "\$1.XXXXXX")
	jq --argjson lacking "\$lacking" "\$2 |= if .capabilities then .capabilities |= map_values(. - \\\$lacking) else . end" "\$1" >"\$out"
	cat "\$out" >"\$1"
	rm -f "\$out"
}
args=("\$@")
for ((i = 0; i < \${#args[@]}; i++)); do
	case \${args[i]} in
	--bundle | -b) strip "\${args[i + 1]:-.}/config.json" .process ;;
	--bundle=*) strip "\${args[i]#*=}/config.json" .process ;;
	--process | -p) strip "\${args[i + 1]:-}" . ;;
	--process=*) strip "\${args[i]#*=}" . ;;
	esac
done
exec $(command -v runc) "\$@"
WRAPPER
	chmod 0755 "$wrapper.new"
	if cmp -s "$wrapper.new" "$wrapper" 2>/dev/null; then
		rm -f "$wrapper.new"
		return
	fi
	mv "$wrapper.new" "$wrapper"
	did "file $wrapper"
	say "wrote $wrapper: this host lacks $(lacking | paste -sd' ')"
}

start_docker() {
	if docker_up; then
		say "Docker runs already"
		return
	fi
	if have_systemd; then
		systemctl start docker
		did "service docker"
		say "started the service docker"
		return
	fi
	local runtime=()
	if [ -n "$(lacking)" ]; then
		wrap_runc
		runtime=(--add-runtime "meshproof=$wrapper" --default-runtime meshproof)
	fi
	setsid nohup dockerd "${runtime[@]}" </dev/null >"$log" 2>&1 &
	local pid=$!
	mkdir -p "$state"
	echo "$pid $(cut -d' ' -f22 "/proc/$pid/stat")" >"$state/dockerd"
	did "dockerd" # also where it does not come up: it may linger
	for _ in $(seq 60); do
		docker_up && break
		[ -d "/proc/$pid" ] || break
		sleep 1
	done
	docker_up || fail "dockerd did not come up: $(tail -1 "$log")" "its log is $log"
	say "started dockerd (process $pid, log $log)"
}

# try_privileged runs a container that is made of this host's own true, since there may be no registry.
try_privileged() {
	local image=meshproof-prepare-host:check true libs why
	true=$(command -v true)
	[[ $true = /* ]] || true=/bin/true # "true" is a word of the shell too
	libs=$(ldd "$true" 2>/dev/null | grep -o '/[^ ]*' | sed 's,^/,,') || libs=
	# shellcheck disable=SC2086 # a list of paths
	(cd / && tar -chf - "${true#/}" $libs) | docker import - "$image" >/dev/null
	why=$(docker run --rm --privileged --network none "$image" "$true" 2>&1) || {
		docker rmi -f "$image" >/dev/null
		fail "Docker runs, but cannot start a privileged container: $why" \
			"where the message is about capabilities, let Docker use the wrapper: dockerd --add-runtime meshproof=$wrapper --default-runtime meshproof"
	}
	docker rmi -f "$image" >/dev/null
	say "privileged containers work"
}

undo() {
	if [ ! -e "$state/done" ]; then
		say "nothing to take back"
		return
	fi
	while read -r what rest; do
		case $what in
		dockerd)
			local pid started
			read -r pid started <"$state/dockerd"
			if [ "$(cut -d' ' -f22 "/proc/$pid/stat" 2>/dev/null)" = "$started" ]; then # still that process
				kill "$pid"
				for _ in $(seq 30); do [ -d "/proc/$pid" ] && sleep 1 || break; done
				say "stopped dockerd (process $pid)"
			fi
			rm -f "$log"
			;;
		service) systemctl stop "$rest" "$rest.socket" && say "stopped the service $rest" ;;
		file) rm -f "$rest" && say "removed $rest" ;;
		sysctl) sysctl -qw "$rest" && say "$rest again" ;;
		packages) # not purged: Debian's docker.io would take all of /var/lib/docker along
			# shellcheck disable=SC2086 # a list of names
			apt-get remove -y -qq $rest >/dev/null && say "removed $rest; images and volumes stay in /var/lib/docker"
			;;
		dependencies) # those that nobody else needs by now
			local unneeded
			unneeded=$(apt-get --simulate autoremove | awk '/^Remv/ {print $2}' | grep -xF "${rest// /$'\n'}" | paste -sd' ' || true)
			# shellcheck disable=SC2086 # a list of names
			[ -z "$unneeded" ] || { apt-get remove -y -qq $unneeded >/dev/null && say "removed $unneeded"; }
			;;
		esac
	done < <(tac "$state/done")
	rm -rf "$state"
	rmdir --ignore-fail-on-non-empty "$(dirname "$wrapper")" 2>/dev/null || true
}

[ "$(id -u)" -eq 0 ] || fail "this needs root" "run it as root: sudo $0 $*"
case "${1:-}" in
--undo) undo ;;
"")
	command -v apt-get >/dev/null || fail "this host has no apt-get" "on other systems than Debian install Docker yourself, then try: meshproof doctor"
	install_packages
	raise_inotify
	start_docker
	try_privileged
	say "done: now try meshproof doctor"
	;;
*) fail "unknown argument $1" "usage: $0 [--undo]" ;;
esac
