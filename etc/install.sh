#!/bin/sh
# Installs PyFlow on this host, or takes it away again: `make install`, `make uninstall`, `make deb` call it from the
# top of the source tree. It knows where files go and nothing of what they say.
#
# Variables (defaults): PYTHON (/usr/bin/python3), APP (/opt/pyflow: the environments), PREFIX (/usr/local: programs,
# units, manual), DESTDIR (empty; a folder that stands for /), RELEASE (version and time), PURGE=1 (settings and what is
# remembered go, too). PIP_* reach pip: PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR installs from a folder of wheels.
set -eu

PYTHON=${PYTHON:-/usr/bin/python3} APP=${APP:-/opt/pyflow} PREFIX=${PREFIX:-/usr/local} DESTDIR=${DESTDIR:-}
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
RELEASE=${RELEASE:-$VERSION-$(date -u +%Y%m%d%H%M%S)}
SYSTEM_UNITS='pyflowd.service pyflowd.socket pyflow-keeper.service pyflow-web.socket pyflow-web.service'
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
umask 022

die() { echo "pyflow: $*" >&2; exit 1; }

# What goes where: source, target, one pair a line. Read by install and by uninstall.
files() {
    lib=$PREFIX/lib share=$PREFIX/share
    for unit in $SYSTEM_UNITS; do
        echo "systemd/$unit $lib/systemd/system/$unit"
        echo "systemd/user/$unit $lib/systemd/user/$unit"
    done
    echo "systemd/pyflow.sysusers $lib/sysusers.d/pyflow.conf"
    echo "systemd/pyflow.tmpfiles $lib/tmpfiles.d/pyflow.conf"
    echo "systemd/pyflow.catalog $lib/systemd/catalog/pyflow.catalog"
    echo "systemd/keeper-all-rights.conf $share/doc/pyflow/keeper-all-rights.conf"
    for page in man/*.[1-9]; do echo "$page $share/man/man${page##*.}/${page##*/}.gz"; done
    echo "pyflowctl/completions/pyflowctl.bash $share/bash-completion/completions/pyflowctl"
    echo "pyflowctl/completions/pyflowctl.zsh $share/zsh/$site_functions/_pyflowctl"
    echo "pyflowctl/completions/pyflowctl.fish $share/fish/vendor_completions.d/pyflowctl.fish"
    for example in etc/workflows/*; do echo "$example $share/doc/pyflow/examples/${example##*/}"; done
    echo "etc/grafana/pyflow.json $share/doc/pyflow/examples/grafana/pyflow.json"
    echo "etc/prometheus/alerts.yaml $share/doc/pyflow/examples/prometheus/alerts.yaml"
    for example in etc/examples/*.yaml etc/examples/python/*.py; do
        echo "$example $share/doc/pyflow/examples/whole/${example#etc/examples/}"
    done
}
case $PREFIX in /usr) site_functions=vendor-completions ;; *) site_functions=site-functions ;; esac

# Settings: only where there are none yet.
settings() { for file in etc/pyflowd.yaml etc/keeper.yaml etc/web.yaml; do [ ! -f "$file" ] || echo "$file /etc/pyflow/${file##*/}"; done; }

# Folders that were not there before stand in a list: uninstall takes these away, and no others.
folder() {
    missing=$1
    while [ ! -d "$DESTDIR$missing" ]; do
        echo "$missing" >> "$DESTDIR$APP/folders"
        missing=${missing%/*}
    done
    mkdir -p "$DESTDIR$1"
}

put() {
    folder "${2%/*}"
    case $2 in
        *.gz) gzip -9nc "$1" > "$DESTDIR$2.new" ;;
        *) sed "s,/opt/pyflow,$APP,g" "$1" > "$DESTDIR$2.new" ;;
    esac
    mv -f "$DESTDIR$2.new" "$DESTDIR$2"
}

booted() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }
active() { systemctl is-active --quiet "$1"; }

check_python() {
    [ -x "$PYTHON" ] || die "there is no $PYTHON: install Python 3.11 or later, or say PYTHON=/path/to/python3"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$PYTHON is $("$PYTHON" -V 2>&1): PyFlow needs Python 3.11 or later; say PYTHON=/path/to/python3"
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$PYTHON cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)"
}

# A new environment beside the old one; nobody sees it before `switch`.
build() {
    new=$DESTDIR$APP/releases/$RELEASE
    [ ! -e "$new" ] || die "$new is there already"
    source=$(mktemp -d)
    trap 'rm -rf "$source" "$new"' EXIT
    cp -R pyproject.toml README.md LICENSE bin pyflowd pyflowctl "$source/"
    "$PYTHON" -m venv "$new"
    if ! "$new/bin/python3" -m pip install --quiet --no-compile "$source[web]" 2> /dev/null; then
        "$new/bin/python3" -m pip install --quiet --no-compile "$source"
        echo "Without the dashboard: its packages (the extra web in pyproject.toml) are not to be had here."
    fi
    if [ -z "$DESTDIR" ] && [ -f /etc/pyflow/requirements.txt ]; then # what plugins need
        "$new/bin/python3" -m pip install --quiet --no-compile -r /etc/pyflow/requirements.txt
    fi
    [ -z "${BARE:-}" ] || "$new/bin/python3" -m pip uninstall --quiet --yes pip setuptools
    ln -s "python$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$new/lib/python3"
    if [ -n "$DESTDIR" ]; then
        rm -f "$new"/bin/activate* "$new"/bin/Activate*
        grep -rlI --null "$DESTDIR" "$new/bin" "$new/pyvenv.cfg" | xargs -0r sed -i "s,$DESTDIR,,g"
    fi
    "$PYTHON" -m compileall -q ${DESTDIR:+-s "$DESTDIR"} -p / "$new/lib" > /dev/null
    (cd / && "$new/bin/python3" -c 'from pyflowd.cli import main; main()' --version > /dev/null) ||
        die "what was built does not start; nothing has changed"
    rm -rf "$source"
    trap - EXIT
}

# One rename: who starts from now on starts the new version; who runs keeps the files it was started from.
switch() {
    ln -sfn "releases/$RELEASE" "$DESTDIR$APP/next"
    mv -fT "$DESTDIR$APP/next" "$DESTDIR$APP/current"
    folder "$PREFIX/bin"
    for program in pyflowd pyflowctl pyflow-keeper pyflow-web; do
        ln -sfn "$APP/current/bin/$program" "$DESTDIR$PREFIX/bin/$program"
    done
}

# Releases that no process uses go; the one before the current stays, to go back to.
prune() {
    kept=0
    for old in $(ls -dt "$APP"/releases/*/); do
        old=${old%/}
        [ "${old##*/}" != "$RELEASE" ] || continue
        kept=$((kept + 1))
        [ "$kept" -gt 1 ] || continue
        cat /proc/[0-9]*/maps /proc/[0-9]*/cmdline 2> /dev/null | grep -qaF "$old/" || rm -rf "$old"
    done
}

install() {
    [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || die "needs root: sudo make install (or DESTDIR=FOLDER)"
    check_python
    build
    keeper_unit=$PREFIX/lib/systemd/system/pyflow-keeper.service
    before=$(cat "$DESTDIR$keeper_unit" 2> /dev/null || :)
    replaced=$(readlink "$DESTDIR$APP/current" || :)
    files | while read -r source target; do put "$source" "$target"; done
    mkdir -p "$DESTDIR/etc/pyflow/workflows"
    settings | while read -r source target; do [ -e "$DESTDIR$target" ] || put "$source" "$target"; done
    switch
    [ -z "$DESTDIR" ] || return 0
    command -v systemd-sysusers > /dev/null || die "there is no systemd-sysusers: make the accounts of $PREFIX/lib/sysusers.d/pyflow.conf by hand"
    systemd-sysusers "$PREFIX/lib/sysusers.d/pyflow.conf"
    systemd-tmpfiles --create "$PREFIX/lib/tmpfiles.d/pyflow.conf"
    journalctl --update-catalog || : # what `journalctl -x` says of our entries
    if booted; then
        systemctl daemon-reload
        if active pyflow-keeper.service; then
            systemctl reload pyflow-keeper.service
            [ "$before" = "$(cat "$keeper_unit")" ] ||
                echo "The unit of pyflow-keeper has changed: that holds from its next start (which ends running tasks)."
        fi
        ! active pyflowd.service || systemctl restart pyflowd.service
        ! active pyflow-web.service || systemctl restart pyflow-web.service
    fi
    prune
    if [ -n "$replaced" ]; then
        echo "PyFlow $VERSION is in force in $APP; ${replaced#releases/} stays there, to go back to: see INSTALLATION in pyflowd(8)."
        return 0
    fi
    cat << END
PyFlow $VERSION is installed in $APP, with its settings in /etc/pyflow. Next:
  1. sudo systemctl enable --now pyflowd
  2. sudo usermod -aG pyflow-op YOU                  # who may start workflows; log in again afterwards
  3. sudo systemctl enable --now pyflow-web.socket   # if you want the dashboard; then: pyflowctl dashboard
  4. sudo cp $PREFIX/share/doc/pyflow/examples/hello.yaml /etc/pyflow/workflows/ && sudo pyflowctl run hello --follow
END
}

uninstall() {
    [ -n "$DESTDIR" ] || [ "$(id -u)" = 0 ] || die "needs root: sudo make uninstall"
    if booted; then # shellcheck disable=SC2086
        systemctl disable --quiet --now pyflowd.socket $SYSTEM_UNITS 2> /dev/null || :
    fi
    files | while read -r _ target; do
        rm -f "$DESTDIR$target"
    done
    for program in pyflowd pyflowctl pyflow-keeper pyflow-web; do rm -f "$DESTDIR$PREFIX/bin/$program"; done
    if [ -f "$DESTDIR$APP/folders" ]; then
        sort -ru "$DESTDIR$APP/folders" | while read -r made; do
            rmdir --ignore-fail-on-non-empty "$DESTDIR$made" 2> /dev/null || :
        done
    fi
    rm -rf "$DESTDIR${APP:?}"
    [ -n "$DESTDIR" ] || rm -rf /run/pyflow /run/pyflow-keeper
    ! booted || systemctl daemon-reload
    [ -n "$DESTDIR" ] || journalctl --update-catalog || :
    if [ -z "${PURGE:-}" ]; then
        echo "PyFlow is gone; /etc/pyflow, /var/lib/pyflow, /var/log/pyflow and the accounts stay (PURGE=1 takes them)."
        return 0
    fi
    rm -rf "$DESTDIR/etc/pyflow" "$DESTDIR/var/lib/pyflow" "$DESTDIR/var/log/pyflow"
    [ -z "$DESTDIR" ] || return 0
    rm -rf /etc/systemd/system/pyflowd.service.d /etc/systemd/system/pyflow-keeper.service.d \
        /etc/systemd/system/pyflow-web.service.d /etc/systemd/system/pyflow-web.socket.d
    ! getent passwd pyflow > /dev/null || userdel pyflow
    for group in pyflow pyflow-op; do ! getent group "$group" > /dev/null || groupdel "$group"; done
    echo "PyFlow is gone, with all that it remembered."
}

case ${1:-} in
    install | uninstall) "$1" ;;
    *) die "usage: $0 install|uninstall" ;;
esac
