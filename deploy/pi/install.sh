#!/bin/sh
# Installs Emberwatch on a Raspberry Pi (Raspberry Pi OS 12 or 13, Debian 12 or 13), or brings an installation up to date:
#   sudo deploy/pi/install.sh [--wheel FILE] [--node NAME] [--keep-logs] [--no-start]
# Every step looks first and changes only what is not as it should be, so it may be run again at any time. What people edit
# (/etc/emberwatch/*) is never overwritten.   --root DIR: only put the files below DIR, touch nothing else (for images, tests).
set -eu
LC_ALL=C
export LC_ALL
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
checkout=$(CDPATH='' cd -- "$here/../.." && pwd)
root="" wheel="" node="" keep_logs="" start=yes reboot=""
say() { echo "install: $*"; }
fail() { echo "install: $*" >&2; exit 2; }

while [ $# -gt 0 ]; do
  case $1 in
    --root) root=${2:?--root needs a folder}; shift ;;
    --wheel) wheel=${2:?--wheel needs a file}; shift ;;
    --node) node=${2:?--node needs a name}; shift ;;
    --keep-logs) keep_logs=yes ;;
    --no-start) start="" ;;
    *) sed -n 2,5p "$0" >&2; fail "unknown option $1" ;;
  esac
  shift
done
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "needs root: sudo $0"
[ -z "$wheel" ] || [ -r "$wheel" ] || fail "--wheel $wheel: no such file, or not readable"
if [ -z "$node" ]; then node=$(hostname | tr -cd 'A-Za-z0-9_-'); fi
case $node in ''|*[!A-Za-z0-9_-]*) fail "--node '$node': letters, digits, - and _ only" ;; esac

# put SOURCE TARGET [MODE]: copies unless the target is the same already. Returns 0 when it changed something.
put() {
  if [ -e "$root$2" ] && cmp -s "$1" "$root$2"; then return 1; fi
  mkdir -p "$root$(dirname "$2")"
  cp "$1" "$root$2.new" && chmod "${3:-644}" "$root$2.new" && mv "$root$2.new" "$root$2"
  say "wrote $2"
}
# put_once SOURCE TARGET: for what people edit.
put_once() { [ -e "$root$2" ] || put "$1" "$2" "${3:-640}" || true; }

packages() {
  wanted=""
  for name in python3 python3-venv mosquitto bluez i2c-tools; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q '^install ok installed' || wanted="$wanted $name"
  done
  [ -z "$wanted" ] && return
  say "installing$wanted"
  apt-get update -qq
  # shellcheck disable=SC2086  # a list of names
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null
}

account() {
  if ! id emberwatch >/dev/null 2>&1; then
    useradd --system --home-dir /var/lib/emberwatch --shell /usr/sbin/nologin emberwatch
    say "made the user emberwatch"
  fi
  for group in i2c gpio bluetooth; do
    getent group "$group" >/dev/null || groupadd --system "$group"
    id -nG emberwatch | tr ' ' '\n' | grep -qx "$group" || { usermod -aG "$group" emberwatch; say "emberwatch is in group $group"; }
  done
}

program() {
  mkdir -p /opt/emberwatch
  [ -x /opt/emberwatch/venv/bin/python ] || python3 -m venv /opt/emberwatch/venv
  if [ -z "$wheel" ]; then what=$checkout stamp=$(cd "$checkout" && find services profiles rules bundles mosquitto pyproject.toml -type f -exec cksum {} + | cksum)
  else what=$wheel stamp=$(cksum <"$wheel"); fi
  if [ "$(cat /opt/emberwatch/installed 2>/dev/null)" != "$stamp" ]; then
    say "installing the program (some minutes on a fresh Pi)"
    /opt/emberwatch/venv/bin/pip install -q --disable-pip-version-check --upgrade "${what}[pi]"
    /opt/emberwatch/venv/bin/pip install -q --disable-pip-version-check --force-reinstall --no-deps "$what"
    echo "$stamp" >/opt/emberwatch/installed
    changed=yes
  fi
  at=$(cd / && /opt/emberwatch/venv/bin/python -c 'from services.bus.settings import ROOT; print(ROOT)')
  ln -sfn "$at/mosquitto" /opt/emberwatch/mosquitto
  chmod +x "$at/mosquitto/start"
}

# lgpio (lamp, buzzer, button) has no wheel for Python 3.13. Raspberry Pi OS 13 has it as a package of the system's
# Python, which the venv is shown; Debian 13 has none.
pins() {
  if /opt/emberwatch/venv/bin/python -c 'import lgpio' 2>/dev/null; then return; fi
  system=/usr/lib/python3/dist-packages
  if [ ! -e "$system/lgpio.py" ] && apt-cache show python3-lgpio >/dev/null 2>&1; then
    say "installing python3-lgpio"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-lgpio >/dev/null
  fi
  into=$(/opt/emberwatch/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
  for file in "$system/lgpio.py" "$system"/_lgpio*.so; do
    if [ -e "$file" ]; then ln -sfn "$file" "$into/"; fi
  done
  if /opt/emberwatch/venv/bin/python -c 'import lgpio' 2>/dev/null; then changed=yes
  else say "no lgpio for this Python: lamp, buzzer and button do not work here"; fi
}

# overlays: our lines in config.txt, between two marks, replaced as a whole.
overlays() {
  boot=""
  for candidate in /boot/firmware/config.txt /boot/config.txt; do
    if [ -e "$root$candidate" ]; then boot=$candidate; break; fi
  done
  if [ -z "$boot" ]; then say "no config.txt: not a Raspberry Pi, overlays left alone"; return; fi
  wanted=$(mktemp)
  sed '/^# emberwatch: begin/,/^# emberwatch: end/d' "$root$boot" >"$wanted"
  cat >>"$wanted" <<END
# emberwatch: begin (deploy/pi/install.sh)
[all]
dtparam=i2c_arm=on
dtparam=watchdog=on
dtoverlay=w1-gpio,gpiopin=4
# emberwatch: end
END
  if ! cmp -s "$wanted" "$root$boot"; then
    [ -e "$root$boot.before-emberwatch" ] || cp "$root$boot" "$root$boot.before-emberwatch"
    cat "$wanted" >"$root$boot"
    say "switched I2C, 1-Wire (GPIO 4) and the watchdog on in $boot"
    reboot=yes
  fi
  rm -f "$wanted"
}

files() {
  for unit in "$here"/systemd/emberwatch*.service "$here/systemd/emberwatch.target" "$here"/systemd/poweroff-for-emberwatch.*; do
    if put "$unit" "/etc/systemd/system/$(basename "$unit")"; then changed=yes; fi
  done
  if put "$here/systemd/emberwatch-.service.d/sandbox.conf" /etc/systemd/system/emberwatch-.service.d/sandbox.conf; then changed=yes; fi
  if put "$here/etc/modprobe.conf" /etc/modprobe.d/emberwatch.conf; then reboot=yes; fi
  if put "$here/etc/modules.conf" /etc/modules-load.d/emberwatch.conf; then reboot=yes; fi
  if put "$here/etc/udev.rules" /etc/udev/rules.d/60-emberwatch.rules; then reboot=yes; fi
  if put "$here/etc/watchdog.conf" /etc/systemd/system.conf.d/emberwatch.conf; then reboot=yes; fi
  if [ -n "$keep_logs" ]; then rm -f "$root/etc/systemd/journald.conf.d/emberwatch.conf"
  elif put "$here/etc/journald.conf" /etc/systemd/journald.conf.d/emberwatch.conf; then reboot=yes; fi
  named=$(mktemp)
  sed "s/@node@/$node/" "$here/etc/emberwatch.env" >"$named"
  put_once "$named" /etc/emberwatch/emberwatch.env
  rm -f "$named"
  put_once "$here/etc/emberwatch.yaml" /etc/emberwatch/emberwatch.yaml
  put_once "$here/pi.yaml" /etc/emberwatch/pi.yaml
  put_once "$here/bms.yaml" /etc/emberwatch/bms.yaml
  if put "$here/etc/emberwatch" /usr/local/bin/emberwatch 755; then changed=yes; fi
}

running() {
  chgrp -R emberwatch /etc/emberwatch
  if ! command -v systemctl >/dev/null; then say "no systemd here: nothing is started"; return; fi
  if [ -d /run/systemd/system ]; then systemctl daemon-reload; else start=""; fi  # in a chroot: for its next start
  systemctl enable -q emberwatch.target poweroff-for-emberwatch.path emberwatch-local emberwatch-gateway emberwatch-sensor emberwatch-inference emberwatch-alert
  if [ -n "$reboot" ]; then say "restart the Pi (sudo reboot); then look: emberwatch doctor"; return; fi
  if [ -z "$start" ]; then return; fi
  if [ -n "$changed" ]; then systemctl restart emberwatch.target poweroff-for-emberwatch.path 'emberwatch-*.service'; else systemctl start emberwatch.target; fi
  say "running; look: emberwatch status, emberwatch doctor"
}

changed=""
if [ -z "$root" ]; then packages; account; program; pins; fi
files
overlays
if [ -z "$root" ]; then running; fi
if [ -z "$changed$reboot" ]; then say "everything was as it should be"; fi
