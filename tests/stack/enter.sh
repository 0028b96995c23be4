#!/bin/bash
# The first process in the stack's namespaces: builds the root file system that the daemons see, and becomes services.sh.
# Nothing that happens inside changes the prepared root: what is written to it goes to memory.
set -euo pipefail
read -r pid _ </proc/self/stat # /proc is still the host's
echo "$pid" >"$STATE/pid"
hostname stack
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$STATE/tmpfs"
mkdir "$STATE"/tmpfs/{upper,work}
new=$STATE/rootfs # a mount, as runc's pivot_root wants it
mount -t overlay -o "lowerdir=$ROOT,upperdir=$STATE/tmpfs/upper,workdir=$STATE/tmpfs/work" overlay "$new"
mount -t proc proc "$new/proc"
mount -t sysfs sysfs "$new/sys"
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
  mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
else
  mount -t tmpfs -o mode=755 tmpfs "$new/sys/fs/cgroup"
  for dir in /sys/fs/cgroup/*/; do
    name=$(basename "$dir")
    [[ ! -L ${dir%/} ]] || continue
    mkdir "$new/sys/fs/cgroup/$name"
    case $name in
      unified) mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup/$name" ;;
      systemd) mount -t cgroup -o none,name=systemd cgroup "$new/sys/fs/cgroup/$name" ;;
      *) mount -t cgroup -o "$name" cgroup "$new/sys/fs/cgroup/$name" ;;
    esac
  done
fi
mount -t tmpfs -o mode=755 tmpfs "$new/dev"
mkdir "$new"/dev/{pts,shm,mqueue}
for device in null zero full random urandom tty fuse kmsg; do
  [[ ! -e /dev/$device ]] || cp -a "/dev/$device" "$new/dev/$device"
done
ln -s /proc/self/fd "$new/dev/fd"
for fd in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${fd%:*}" "$new/dev/${fd#*:}"; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"
mount -t tmpfs tmpfs "$new/dev/shm"
mount -t mqueue mqueue "$new/dev/mqueue"
mount -t tmpfs -o mode=1777 tmpfs "$new/tmp"
mount -t tmpfs tmpfs "$new/root" # no client's state (~/.docker) outlives the stack
bind() { mkdir -p "$new$2"; mount --rbind "$1" "$new$2"; }
bind "$STATE/run" /run
bind "$STATE/logs" /var/log/stack
bind "$BIN" /opt/stack/bin
bind "$STATE/data/docker" /var/lib/docker
bind "$STATE/data/docker-soci" /var/lib/docker-soci
bind "$STATE/data/containerd" /var/lib/containerd
bind "$STATE/data/soci" /var/lib/soci-snapshotter-grpc
bind "$STATE/data/soci-v1" /var/lib/soci-v1
bind "$STATE/data/registry" /var/lib/docker-registry
bind "$STATE/data/buildkit" /var/lib/buildkit
bind "$STATE/work" "$STATE/work"
for dir in $STACK_BINDS; do bind "$dir" "$dir"; done
cd "$new"
pivot_root . mnt
umount -l /mnt
exec env -i PATH=/opt/stack/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
  REGPORT="$REGPORT" TLSPORT="$TLSPORT" /usr/bin/tini-static -- /bin/bash /run/services.sh
