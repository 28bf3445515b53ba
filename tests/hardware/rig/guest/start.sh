#!/bin/bash
# The guest's first program (process 1): disks, network, then the agent. With rig.init=systemd on the kernel's command
# line it becomes systemd, which starts the same agent as a unit.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
modprobe -a virtio_console virtio_net
mkdir -p /opt/edge /opt/emberwatch /var/lib/emberwatch
mount -o ro,noatime LABEL=edge /opt/edge
mount -o ro,noatime LABEL=emberwatch /opt/emberwatch
mount -o noatime LABEL=disk /var/lib/emberwatch
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
if grep -q rig.init=systemd /proc/cmdline; then
  mkdir -p /run/systemd/system/sysinit.target.wants
  cat >/run/systemd/system/rig-agent.service <<UNIT
[Unit]
Description=Agent of the test rig
DefaultDependencies=no
[Service]
ExecStart=/run/rig/agent
UNIT
  ln -s ../rig-agent.service /run/systemd/system/sysinit.target.wants/
  exec /sbin/init
fi
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
for n in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${n%:*}" "/dev/${n#*:}"; done
mount -t tmpfs tmp /tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
/run/rig/agent </dev/null >/dev/console 2>&1  # bash reaps whatever becomes its child meanwhile
echo o >/proc/sysrq-trigger
sleep 60
