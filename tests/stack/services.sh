#!/bin/bash
# Runs inside the stack, as the child of its first process: starts the daemons in order and stops them at SIGTERM.
set -u
PIDS=()
start() { local name=$1; shift; "$@" >>"/var/log/stack/$name.log" 2>&1 & PIDS+=($!); }
stop() {
  trap - TERM INT
  local i n
  for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
    kill -TERM "${PIDS[i]}" 2>/dev/null || continue
    for ((n = 0; n < 100; n++)); do kill -0 "${PIDS[i]}" 2>/dev/null || break; sleep 0.05; done
    kill -KILL "${PIDS[i]}" 2>/dev/null
  done
  exit 0
}
trap stop TERM INT
# Waits for a daemon (the last started) to answer.
answers() {
  local i
  for ((i = 0; i < 300; i++)); do
    eval "$1" >/dev/null 2>&1 && kill -0 "${PIDS[-1]}" && return 0
    kill -0 "${PIDS[-1]}" 2>/dev/null || break
    sleep 0.05
  done
  echo "no answer: $1"
  touch /run/failed
  wait
}

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  while [ ! -e /run/cgroup ]; do sleep 0.05; done # see stack.sh
  for name in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$name" >/sys/fs/cgroup/cgroup.subtree_control; done
fi

# One storage, two registries. The one over TLS has a name that is not a loopback literal, since soci-snapshotter 0.4.1 fetches
# SOCI indexes and zTOCs over https only, yet spans of "127.*" and "localhost" over http only.
printf '127.0.0.1 localhost registry.lab\n' >/etc/hosts
T=/run/tls
mkdir -p $T
{
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=stack CA" -keyout $T/ca.key -out $T/ca.crt
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=registry.lab" -keyout $T/server.key -out $T/server.csr
  printf 'subjectAltName=DNS:registry.lab,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >$T/ext
  openssl x509 -req -in $T/server.csr -CA $T/ca.crt -CAkey $T/ca.key -CAcreateserial -days 30 -extfile $T/ext -out $T/server.crt
} 2>/dev/null
cp $T/ca.crt /run/ca.crt
cat /run/ca.crt >>/etc/ssl/certs/ca-certificates.crt # what Go programs trust
registry() { # NAME ADDRESS [TLS]; in the network that $NETWORK enters
  cat >"/run/$1.yml" <<E
version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage: {filesystem: {rootdirectory: /var/lib/docker-registry}, delete: {enabled: true}}
http: {addr: "$2"${3:-}}
E
  start "$1" ${NETWORK:-} docker-registry serve "/run/$1.yml"
  answers "${NETWORK:-} bash -c 'echo >/dev/tcp/${2/:/\/}'"
}
registry registry "127.0.0.1:$REGPORT"
registry registry-tls "127.0.0.1:$TLSPORT" ", tls: {certificate: $T/server.crt, key: $T/server.key}"

# The current soci-snapshotter (SOCI v2) and Debian's (0.4.1, v1 only). What a start costs is measured, so nothing is fetched ahead.
printf '[background_fetch]\ndisable = true\n[pull_modes.soci_v1]\nenable = true\n' >/run/soci.toml
printf '[background_fetch]\ndisable = true\n' >/run/soci-v1.toml
mkdir -p /run/soci-snapshotter-grpc
start soci snapshotter --config /run/soci.toml --log-level debug
answers 'test -S /run/soci-snapshotter-grpc/soci-snapshotter-grpc.sock'
start soci-v1 soci-snapshotter-grpc --config /run/soci-v1.toml --log-level debug --root /var/lib/soci-v1 --address /run/soci-v1.sock
answers 'test -S /run/soci-v1.sock'

cat >/run/containerd.toml <<E
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.cri.v1.images","io.containerd.cri.v1.runtime","io.containerd.grpc.v1.cri","io.containerd.nri.v1.nri","io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.zfs","io.containerd.snapshotter.v1.devmapper","io.containerd.tracing.processor.v1.otlp","io.containerd.internal.v1.tracing"]
[grpc]
  address = "/run/containerd/containerd.sock"
[proxy_plugins.soci]
  type = "snapshot"
  address = "/run/soci-snapshotter-grpc/soci-snapshotter-grpc.sock"
  [proxy_plugins.soci.exports]
    root = "/var/lib/soci-snapshotter-grpc"
    enable_remote_snapshot_annotations = "true"
[proxy_plugins.soci-v1]
  type = "snapshot"
  address = "/run/soci-v1.sock"
  [proxy_plugins.soci-v1.exports]
    root = "/var/lib/soci-v1"
    enable_remote_snapshot_annotations = "true"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/amd64"
  snapshotter = "overlayfs"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/amd64"
  snapshotter = "soci"
E
start containerd containerd --config /run/containerd.toml
answers 'ctr version'

# Two Docker daemons: one with overlayfs, and one that starts containers lazily. Each has a network of its own, for docker0 and
# containers, since it would take or remove the docker0 of a Docker on this machine; and there the registry again.
docker_daemon() { # NAME SNAPSHOTTER
  ip netns add "$1"
  local inside="nsenter --net=/run/netns/$1"
  $inside ip link set lo up
  NETWORK=$inside registry "registry-$1" "127.0.0.1:$REGPORT"
  cat >"/run/$1.json" <<E
{"features": {"containerd-snapshotter": true}, "storage-driver": "$2", "hosts": ["unix:///run/$1.sock"],
 "data-root": "/var/lib/$1", "exec-root": "/run/$1", "pidfile": "/run/$1.pid", "containerd": "/run/containerd/containerd.sock",
 "iptables": false, "ip6tables": false, "ip-forward": false, "ip-masq": false,
 "exec-opts": ["native.cgroupdriver=cgroupfs"], "insecure-registries": ["127.0.0.0/8"]}
E
  start "$1" $inside dockerd --config-file "/run/$1.json" --containerd-namespace "$1" --containerd-plugins-namespace "$1-plugins"
  answers "docker --host unix:///run/$1.sock version"
}
docker_daemon docker overlayfs
docker_daemon docker-soci soci

# The current BuildKit, as the builder "rem": docker buildx build --builder rem
cat >/run/buildkitd.toml <<E
root = "/var/lib/buildkit"
[grpc]
  address = ["unix:///run/buildkit/buildkitd.sock"]
[worker.oci]
  enabled = true
  snapshotter = "overlayfs"
  networkMode = "host"
[worker.containerd]
  enabled = false
[registry."127.0.0.1:$REGPORT"]
  http = true
E
start buildkitd buildkitd --config /run/buildkitd.toml
answers 'test -S /run/buildkit/buildkitd.sock'
docker buildx create --name rem --driver remote unix:///run/buildkit/buildkitd.sock >/dev/null
touch /run/ready
wait
