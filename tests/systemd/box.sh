#!/bin/bash
# Becomes a real systemd in namespaces of its own, where what is installed stays.
# Called by `unshare` as process 1: $1 is a folder for it. /tmp is a file system of its
# own before systemd starts, which empties it.
set -euo pipefail
box=$1
mount --make-rprivate /
mount -t tmpfs box "$box"
for place in etc opt usr/local var root; do
    mkdir -p "$box/upper/$place" "$box/scratch/$place"
    mount -t overlay overlay "/$place" \
        -o "lowerdir=/$place,upperdir=$box/upper/$place,workdir=$box/scratch/$place"
done
for place in /run /tmp /var/tmp /dev; do
    mount -t tmpfs tmpfs "$place"
done
mount -t proc proc /proc
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/full c 1 7
mknod -m 666 /dev/random c 1 8
mknod -m 666 /dev/urandom c 1 9
mknod -m 666 /dev/tty c 5 0
ln -s /proc/self/fd /dev/fd
mkdir /run/lock /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts -o newinstance,ptmxmode=666
ln -s pts/ptmx /dev/ptmx
ip link set lo up
ip address add 10.99.0.1/24 dev lo
# Nothing that would reach beyond the namespaces: devices, kernel settings, clocks.
for unit in systemd-{udevd,udev-trigger,sysctl,modules-load,remount-fs,binfmt,random-seed,tmpfiles-setup-dev,hwdb-update,logind,timesyncd}.service \
    systemd-udevd-{control,kernel}.socket kmod-static-nodes.service getty.target \
    {dev-hugepages,dev-mqueue,sys-fs-fuse-connections,sys-kernel-config,sys-kernel-debug,sys-kernel-tracing}.mount \
    proc-sys-fs-binfmt_misc.automount {systemd-tmpfiles-clean,apt-daily,apt-daily-upgrade}.timer; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
rm -rf /etc/systemd/system/multi-user.target.wants /opt/twistlock* /var/lib/twistlock*
: >/etc/fstab
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-level=warning
