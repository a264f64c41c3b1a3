#!/bin/sh
# systemd as pid 1 of namespaces of its own: sh pid1.sh DIR, below `unshare --pid --fork --mount --mount-proc --uts --ipc --cgroup`.
#
# DIR has our units in `units`. systemd sees these, and the targets that every unit needs, and no other of this machine; /run and /var/lib are
# its own.
set -e
dir=$1
mount --make-rprivate /
mount -t tmpfs tmpfs /var/lib
for target in basic sysinit sockets multi-user shutdown final umount exit; do
    cp "/lib/systemd/system/$target.target" "$dir/units/"
done
cp /lib/systemd/system/systemd-exit.service "$dir/units/"
mount -t tmpfs tmpfs /run
exec env -i PATH="$PATH" container=strait-test SYSTEMD_UNIT_PATH="$dir/units" SYSTEMD_LOG_TARGET=console \
    /lib/systemd/systemd --system --unit=basic.target --show-status=0
