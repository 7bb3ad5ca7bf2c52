#!/bin/sh
# `make demo`: a daemon on a throw-away root, the examples, one run that survives the daemon's death. Leaves nothing behind.
set -eu

root=$(mktemp -d "${TMPDIR:-/tmp}/pyflow-demo.XXXXXX")
export PYFLOW_ROOT="$root"
daemon=
dashboard=

end() {
    if [ -n "$1" ]; then
        kill "$1" 2>/dev/null || true
        wait "$1" 2>/dev/null || true
    fi
}
clean_up() {
    trap - EXIT INT TERM
    end "$dashboard"
    end "$daemon"
    rm -rf "$root"
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() {
    printf '\033[2m$ %s\033[0m\n' "$*"
    "$@" || true
}
start() {
    pyflowd 2>>"$root/pyflowd.log" &
    daemon=$!
    tries=0
    until pyflowctl next >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 200 ] || ! kill -0 "$daemon" 2>/dev/null; then
            cat "$root/pyflowd.log" >&2
            exit 1
        fi
        sleep 0.05
    done
}

say "1. A daemon on a root of its own; the examples are dropped into its folder."
start
cp "$(dirname "$0")"/workflows/*.yaml "$root/workflows/"
pyflowctl reload >/dev/null
show pyflowctl list

say "2. A run of five tasks, three of them side by side. While they run, the daemon is killed with kill -9."
show pyflowctl run diamond
sleep 0.5
kill -9 "$daemon"
wait "$daemon" 2>/dev/null || true
echo "   pyflowd is dead. Its tasks are not: they belong to pyflow-keeper."
start
echo "   pyflowd is back, and knows:"
show pyflowctl status diamond
while pyflowctl -o json status diamond | grep -q '"ended_at":null'; do sleep 0.1; done

say "3. Nothing was lost: each task ran once, each exit status is the true one, the output is whole."
show pyflowctl status diamond
show pyflowctl logs diamond
show pyflowctl graph 1

say "4. A mistake is told with its place and the right word; what was in force stays in force."
printf 'tasks:\n  greet:\n    run: echo hello\n  bye:\n    need: greet\n    run: echo bye\n' >"$root/broken.yaml"
show pyflowctl lint "$root/broken.yaml"

serve_dashboard() {
    end "$dashboard"
    pyflowctl dashboard >"$root/dashboard.log" 2>&1 &
    dashboard=$!
    until grep -q 'http.*code=' "$root/dashboard.log"; do
        kill -0 "$dashboard" 2>/dev/null || { cat "$root/dashboard.log" >&2; exit 1; }
        sleep 0.05
    done
    printf '\n   \033[1m%s\033[0m\n\n' "$(grep -o 'http[^ ]*code=[^ ]*' "$root/dashboard.log" | head -n 1)"
}
say "5. The dashboard. Open this link on this host: it logs you in, once, within a minute."
show pyflowctl run when-things-fail
serve_dashboard
if [ -t 0 ] && [ -t 1 ]; then
    printf '   Enter: another link. q and Enter: the end. '
    while read -r word && [ "$word" != q ]; do
        serve_dashboard
        printf '   Enter: another link. q and Enter: the end. '
    done
fi

say "That was PyFlow. To go on:"
cat <<EOT
  . .venv/bin/activate
  export PYFLOW_ROOT=~/pyflow          everything below one folder
  mkdir -p ~/pyflow/workflows && cp etc/workflows/hello.yaml ~/pyflow/workflows/
  pyflowd & sleep 1                    a daemon of your own
  pyflowctl run hello --follow         run it and watch
  pyflowctl dashboard                  the same in a browser
  pyflowctl help                       the rest; man/pyflow-workflow.5 has every key

The demo's daemon is stopped now, and its folder removed.
EOT
