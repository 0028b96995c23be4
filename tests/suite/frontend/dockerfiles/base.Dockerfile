# What most of the others build on. Built by BuildKit's own frontend, once.
FROM scratch
COPY tools/busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV PATH=/bin
RUN <<'SCRIPT'
set -e
mkdir -p /tree/full/deep/er /tree/empty /tree/sticky /etc /tmp /tree/kept
chmod 1777 /tmp /tree/sticky
echo one >/tree/full/one
echo two >/tree/full/two
echo three >/tree/full/deep/three
echo four >/tree/full/deep/er/four
for name in a b c d e f g; do echo "$name" >/tree/$name; echo "$name" >/tree/kept/$name; done
ln /tree/a /tree/a-again
ln /tree/a /tree/full/a-too
ln -s b /tree/to-b
ln -s full /tree/to-full
ln -s /nowhere /tree/dangling
mknod /tree/zero c 1 5
mkfifo /tree/pipe
head -c 70000 /dev/zero | tr '\0' x >/tree/long
touch -d @1000000000 /tree/kept/g
SCRIPT
