#!/bin/bash
# A real container stack for tests: what a developer or a test starts and stops. See README.md beside this file.
#
#   stack.sh prepare          makes root file system and peers, once; again where what they are made of has changed;
#                             where that is impossible says why, and ends with status 75
#   stack.sh possible         says why no stack can run here, and fails; silent where it can
#   stack.sh ready            the same, and also where nothing is prepared
#   stack.sh up               starts a stack that stays                    stack.sh down        stops it and drops its data
#   stack.sh run              starts one, prints "ready", keeps it until stdin ends, drops its data
#   stack.sh exec CMD…        runs a command inside                        stack.sh status      is it up, and where
#
# environment, with defaults:
#   LAB=~/.cache/sociable-stack   root file system, peers, and the state of each stack
#   STACK=default                 which stack: each has its own daemons, storage and namespaces
#   STACK_BINDS=                  directories, separated by spaces, that are to be seen inside under the same path
#   REGPORT=5000 TLSPORT=5443     the registry, over HTTP and TLS
set -euo pipefail
HERE=$(dirname "$(readlink -f "$0")")
LAB=${LAB:-$HOME/.cache/sociable-stack} STACK=${STACK:-default}
STACK_BINDS=${STACK_BINDS:-} REGPORT=${REGPORT:-5000} TLSPORT=${TLSPORT:-5443}
ROOT=$LAB/root BIN=$LAB/bin STATE=$LAB/stacks/$STACK
CGROUP=sociable-stack-$STACK
say() { echo "[stack $STACK] $*" >&2; }

# The host's process id of the stack's first process, if it runs.
pid() { [[ -s $STATE/pid ]] && [[ -e /proc/$(<"$STATE/pid")/ns/pid ]] && cat "$STATE/pid"; }

possible() {
  [[ $(uname -s) == Linux ]] || { echo "a stack needs Linux"; return 1; }
  [[ $(uname -m) == x86_64 ]] || { echo "a stack needs x86-64"; return 1; }
  [[ $(id -u) == 0 ]] || { echo "a stack needs root"; return 1; }
  [[ -c /dev/fuse ]] || { echo "a stack needs /dev/fuse"; return 1; }
  unshare --mount --pid --ipc --uts --cgroup --fork mount -t tmpfs tmpfs /mnt 2>/dev/null ||
    { echo "a stack needs the right to make namespaces and to mount"; return 1; }
}

ready() {
  possible || return 1
  [[ -x $ROOT/usr/bin/docker && -x $BIN/snapshotter && -x $BIN/buildkitd ]] ||
    { echo "no stack is prepared in $LAB: cargo xtask stack prepare"; return 1; }
}

# The cgroup hierarchies in which the stack gets a cgroup of its own: one (version 2), or one a controller (version 1).
hierarchies() {
  if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then echo /sys/fs/cgroup; return; fi
  local dir
  for dir in /sys/fs/cgroup/*/; do dir=${dir%/}; [[ -L $dir ]] || echo "$dir"; done
}

make_cgroups() {
  local dir
  for dir in $(hierarchies); do
    mkdir -p "$dir/$CGROUP"
    if [[ ${dir##*/} == cpuset ]]; then # empty until filled, and no process may enter it then
      cat "$dir/cpuset.cpus" >"$dir/$CGROUP/cpuset.cpus"
      cat "$dir/cpuset.mems" >"$dir/$CGROUP/cpuset.mems"
      echo 1 >"$dir/$CGROUP/cgroup.clone_children"
    fi
  done
}

# Version 2 gives controllers to the children of a cgroup only if it has no processes itself.
empty_cgroup() {
  local dir=/sys/fs/cgroup/$CGROUP pids pid
  if [[ -e $dir/cgroup.controllers ]]; then
    mkdir -p "$dir/init"
    while pids=$(<"$dir/cgroup.procs") && [[ -n $pids ]]; do # some are gone, some are new
      for pid in $pids; do echo "$pid" >"$dir/init/cgroup.procs" || true; done 2>/dev/null
    done
  fi
  touch "$STATE/run/cgroup"
}

# The kernel may need a moment after the last process.
remove_cgroups() {
  local dir i
  for dir in $(hierarchies); do
    for ((i = 0; i < 50; i++)); do
      [[ -d $dir/$CGROUP ]] || break
      find "$dir/$CGROUP" -depth -type d -exec rmdir {} \; 2>/dev/null || true
      [[ ! -d $dir/$CGROUP ]] || sleep 0.1
    done
  done
}

up() {
  pid >/dev/null && { say "already up"; return 0; }
  ready >&2
  rm -rf "$STATE"
  mkdir -p "$STATE"/{run,logs,work,rootfs,tmpfs} "$STATE"/data/{docker,docker-soci,containerd,soci,soci-v1,registry,buildkit}
  cp "$HERE/services.sh" "$STATE/run/"
  make_cgroups
  export LAB STATE ROOT BIN STACK_BINDS REGPORT TLSPORT
  # shellcheck disable=SC2016 # expanded by the inner shell, which is then in the cgroups
  CGROUP=$CGROUP HIERARCHIES=$(hierarchies) setsid bash -c '
    for dir in $HIERARCHIES; do echo $$ >"$dir/$CGROUP/cgroup.procs"; done
    exec unshare --mount --pid --ipc --uts --cgroup --fork --kill-child bash "$0"' \
    "$HERE/enter.sh" </dev/null >"$STATE/logs/stack.log" 2>&1 &
  local i
  for ((i = 0; i < 600; i++)); do
    [[ -e $STATE/run/ready ]] && return 0
    [[ -e $STATE/run/failed ]] && break
    [[ -e $STATE/run/cgroup || ! -s $STATE/pid ]] || empty_cgroup
    sleep 0.1
  done
  say "did not start:"
  tail -n 5 "$STATE"/logs/*.log >&2
  down
  return 1
}

down() {
  local pid i
  if pid=$(pid); then
    kill -TERM "$pid" 2>/dev/null || true
    for ((i = 0; i < 300; i++)); do [[ -e /proc/$pid ]] || break; sleep 0.1; done
    [[ ! -e /proc/$pid ]] || { say "had to be killed"; kill -KILL "$pid"; sleep 0.5; }
  fi
  remove_cgroups
  rm -rf "$STATE"
}

# A stack that lives as long as whoever holds the other end of stdin, however that one ends.
run() {
  STACK=run-$$ STATE=$LAB/stacks/run-$$ CGROUP=sociable-stack-run-$$
  local dir
  for dir in "$LAB"/stacks/run-*; do # what a crash of the machine left behind
    [[ ! -d $dir || -e /proc/${dir##*-} ]] || rm -rf "$dir"
  done
  trap '' INT HUP # a terminal's Ctrl-C ends the holder first
  up || exit 1
  echo "ready $STACK"
  cat >/dev/null
  down
}

case ${1:-} in
  prepare) possible || exit 75; LAB=$LAB exec bash "$HERE/prepare.sh" ;;
  possible) possible ;;
  ready) ready ;;
  up) up; say "up: DOCKER_HOST=unix://$STATE/run/docker.sock, registry 127.0.0.1:$REGPORT, over TLS :$TLSPORT ($STATE/run/ca.crt)" ;;
  run) run ;;
  down) down ;;
  status) pid=$(pid) && say "up, process $pid, state in $STATE" || say "down" ;;
  exec)
    shift
    pid=$(pid) || { say "not up"; exit 1; }
    exec nsenter --target "$pid" --mount --pid --ipc --uts --cgroup --root env -i PATH=/opt/stack/bin:/usr/sbin:/usr/bin:/sbin:/bin \
      HOME=/root LANG=C.UTF-8 TERM=dumb bash -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$PWD" "$@"
    ;;
  *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
