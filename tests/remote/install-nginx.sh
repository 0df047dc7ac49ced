#!/bin/sh
# Installs nginx from Debian's packages unless it is there: some tests stream from it.
set -eu
if [ -x /usr/sbin/nginx ] || command -v nginx >/dev/null; then
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then as_root=; else as_root=sudo; fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
$as_root apt-get install -y -qq --no-install-recommends nginx-light
