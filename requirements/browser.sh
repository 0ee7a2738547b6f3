#!/bin/sh
# Chromium for the browser tests, from Debian's or Ubuntu's packages. Without it those tests are skipped, and say why.
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if ! command -v apt-get >/dev/null 2>&1; then
    echo "browser tests will be skipped: no chromium here, and no apt-get to install it with" >&2
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "browser tests will be skipped: no chromium here; install it with: sudo apt-get install chromium" >&2
    exit 0
fi
if (apt-get update; DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends chromium fonts-wqy-microhei) >/tmp/browser-install.log 2>&1; then
    exit 0
fi
echo "browser tests will be skipped: chromium could not be installed ($(tail -1 /tmp/browser-install.log))" >&2
