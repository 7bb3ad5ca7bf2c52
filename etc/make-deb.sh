#!/bin/sh
# Builds dist/pyflow_VERSION_ARCH.deb with dpkg-deb: what `make install` puts in place, below /usr, with an environment
# of its own. It fits the release of Debian or Ubuntu that it is built on, as its libraries fit one minor of Python.
# PIP_* reach pip, as with `make install`. DEB_VERSION and MAINTAINER may be given.
set -eu

for tool in dpkg-deb dpkg-shlibdeps strip; do
    command -v "$tool" > /dev/null || { echo "pyflow: there is no $tool: apt-get install dpkg-dev binutils" >&2; exit 1; }
done
PYTHON=${PYTHON:-/usr/bin/python3}
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
DEB_VERSION=${DEB_VERSION:-$VERSION-1}
MAINTAINER=${MAINTAINER:-PyFlow developers <pyflow@localhost.localdomain>}
ARCH=$(dpkg --print-architecture)
MINOR=$("$PYTHON" -c 'import sys; print(sys.version_info[1])')
APP=/usr/lib/pyflow
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

umask 022
DESTDIR=$root PREFIX=/usr APP=$APP RELEASE=$DEB_VERSION BARE=1 PYTHON=$PYTHON sh etc/install.sh install

# ---- As Debian has it
mkdir -p "$root/lib/systemd" "$root/DEBIAN" "$work/debian"
mv "$root/usr/lib/systemd/system" "$root/lib/systemd/system"
release=$root$APP/releases/$DEB_VERSION
rm -rf "$root$APP/folders" "$release/include" "$release/lib64" "$release"/lib/python3.*/site-packages/*.dist-info/RECORD
find "$release" -name __pycache__ -prune -o -name '*.so*' -type f -print > "$work/libraries"
xargs -r strip --strip-unneeded < "$work/libraries"
find "$root" -type d -empty ! -path "$root/etc/*" ! -path "$root/DEBIAN" -delete
doc=$root/usr/share/doc/pyflow
cat > "$doc/copyright" << END
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: PyFlow

Files: *
Copyright: PyFlow contributors
License: Apache-2.0
 On Debian systems, the text of this licence is in /usr/share/common-licenses/Apache-2.0.

Files: usr/lib/pyflow/*
Copyright: the authors of the packages in the environment
License: as-in-package
 Each package in the environment has its licence in its .dist-info folder.
END
{
    echo "pyflow ($DEB_VERSION) unstable; urgency=medium"
    echo
    echo "  * PyFlow $VERSION, packaged from its source tree."
    echo
    echo " -- $MAINTAINER  $(date -uR)"
} | gzip -9n > "$doc/changelog.Debian.gz"
gzip -9nc CHANGELOG.md > "$doc/changelog.gz"
mkdir -p "$root/usr/share/lintian/overrides"
cat > "$root/usr/share/lintian/overrides/pyflow" << END
# The environment is carried whole: the SQLite of Debian 12 has the WAL-reset bug.
pyflow: embedded-library *
END

# ---- What it needs
cat > "$work/debian/control" << END
Source: pyflow

Package: pyflow
Architecture: any
END
libraries=$(cd "$work" && xargs -r dpkg-shlibdeps -O --ignore-missing-info $(find "$release" -type d -name '*.libs' -printf '-l%p ') \
    < "$work/libraries" 2> /dev/null | sed -n 's/^shlibs:Depends=//p')
size=$(du -sk "$root" | cut -f1)
cat > "$root/DEBIAN/control" << END
Package: pyflow
Version: $DEB_VERSION
Architecture: $ARCH
Maintainer: $MAINTAINER
Installed-Size: $size
Section: admin
Priority: optional
Pre-Depends: init-system-helpers (>= 1.54~)
Depends: ${libraries:+$libraries, }python3 (>= 3.$MINOR), python3 (<< 3.$((MINOR + 1))), systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles, passwd
Recommends: bash
Description: workflow automation for Linux hosts
 You drop a YAML file into a folder; a daemon notices, schedules, runs and
 remembers: nightly backups, deploys, whatever cron did. Tasks go on while the
 daemon is restarted, upgraded or killed, with their exit status.
 .
 The package carries its Python environment.
END
(cd "$root" && find etc -type f -printf '/%p\n' | LC_ALL=C sort) > "$root/DEBIAN/conffiles"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
for script in postinst prerm postrm; do
    cp "etc/deb/$script" "$root/DEBIAN/$script"
    chmod 755 "$root/DEBIAN/$script"
done
mkdir -p dist
dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "dist/pyflow_${DEB_VERSION}_$ARCH.deb"
