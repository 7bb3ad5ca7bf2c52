# In the machine of vm.sh, as root: what only real controllers show. Each line that begins with `not ` is a failure.
export PYTHONPATH=/payload/site
flow() { timeout 120 python3 -m pyflowctl --root /r "$@"; }
failures=0
echo "booted: $(stat -fc %T /sys/fs/cgroup), $(cat /sys/fs/cgroup/cgroup.controllers)"
check() {  # WHAT PATTERN TEXT
    if grep -qE -- "$2" <<< "$3"; then echo "ok $1"; else echo "not ok $1: no $2 in: $3"; failures=$((failures + 1)); fi
}
await() {  # up to three minutes
    local end=$((SECONDS + 180))
    while [ $SECONDS -lt $end ]; do "$@" > /r/awaited 2>&1 && return; sleep 0.5; done
    echo "not ok in vain: $*"; failures=$((failures + 1))
    tail -n 5 /r/awaited /var/tmp/log
}
unit=/sys/fs/cgroup/system.slice/keeper.service
pid() { systemctl show -P MainPID keeper; }
upgraded() { journalctl -u keeper | grep 'upgraded in place'; }

mkdir -p /r/workflows
eat='x = bytearray(200 << 20)'
cat > /r/workflows/oom.yaml <<W
tasks: {a: {run: "sleep 555 & python3 -c '$eat' || true; echo lived", resources: {memory_max: 64MiB}}}
W
cat > /r/workflows/least.yaml <<W
tasks: {a: {run: "echo small", resources: {memory_max: 4MiB}}}
W
cat > /r/workflows/many.yaml <<W
tasks: {a: {run: "for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; wait", resources: {tasks_max: 5}}}
W
cat > /r/workflows/slow.yaml <<W
tasks:
  a:
    run: |
      python3 -c 'while __import__("time").process_time() < 1: pass'
      grep nr_throttled /sys/fs/cgroup\$(cut -d: -f3 /proc/self/cgroup)/cpu.stat
    resources: {cpu_max: 20%}
W
cat > /r/workflows/files.yaml <<W
tasks:
  a:
    run: |
      cd /sys/fs/cgroup\$(cut -d: -f3 /proc/self/cgroup)
      echo \$(cat memory.max memory.swap.max memory.oom.group cpu.max cpu.weight io.weight pids.max)
      echo nice \$(nice) oom_score_adj \$(cat /proc/self/oom_score_adj)
    resources: {memory_max: 40MiB, cpu_max: 150%, cpu_weight: 20, io_weight: 30, tasks_max: 9, nice: -5}
W
cat > /r/workflows/long.yaml <<W
tasks: {a: {run: "setsid sleep 777 & while [ ! -e /r/go ]; do sleep 0.2; done; python3 -c '$eat'", resources: {memory_max: 64MiB}}}
W
systemd-run -q --unit=keeper -p Delegate=yes -p OOMScoreAdjust=-900 -p OOMPolicy=continue -p KillMode=mixed \
    -p Restart=always -p RestartSec=0 -p ExecReload='/bin/kill -HUP $MAINPID' \
    python3 -I -S /payload/site/pyflowd/keeper/__main__.py --run-dir /r/run --root /r --cgroup own
await test -S /r/run/keeper.sock
python3 -c "import sys; from pyflowd.cli import main; sys.exit(main())" --root /r > /var/tmp/log 2>&1 &
await flow show long
[ "$failures" = 0 ] || exit 1

doctor=$(flow doctor)
check 'containment is exact' 'processes: exact' "$doctor"
check 'every limit is kept' 'kept: memory_max, cpu_max, cpu_weight, io_weight, tasks_max, nice' "$doctor"

check 'out of memory' 'out of memory \(memory_max 64MiB\)' "$(flow run oom --wait 2>&1)"
check 'reason oom' '"reason":"oom"' "$(flow -o json status oom)"
check 'all of it was killed' '^$' "$(pgrep -f 'sleep 555'; flow logs oom --raw)"
check 'a shell in 4 MiB' 'succeeded' "$(flow run least --wait 2>&1)"
check 'no more processes' 'tasks_max 5 kept it from' "$(flow run many --wait 2>&1)"
check 'a fifth of a processor' '^nr_throttled [1-9]' "$(flow run slow --wait > /r/o 2>&1; flow logs slow --raw)"
files=$(flow run files --wait > /r/o 2>&1; flow logs files --raw)
check 'files of the cgroup' '^41943040 0 1 150000 100000 20 default 30 9$' "$files"
check 'niceness, and no protection by the unit' '^nice -5 oom_score_adj 0$' "$files"
check 'nothing is left' '^$' "$(find $unit -maxdepth 1 -name 'attempt-*')"

flow run long > /r/o
await pgrep -f 'sleep 777'
before=$(pid)
systemctl reload keeper
await upgraded
check 'the same process over an upgrade' "^$before$" "$(pid)"
check 'the limit over an upgrade' '^67108864$' "$(cat $unit/attempt-*/memory.max)"
touch /r/go
check 'out of memory after an upgrade' 'out of memory' "$(flow wait long 2>&1; flow status long)"
rm /r/go

flow run long > /r/o
await pgrep -f 'sleep 777'
kill -9 "$(pid)"
check 'a killed keeper loses its attempts and says so' 'keeper lost' "$(flow wait long 2>&1; flow status long)"
check 'nothing of them lives' '^$' "$(pgrep -f 'sleep 777'; find $unit -maxdepth 1 -name 'attempt-*')"
check 'the next keeper keeps limits' 'out of memory' "$(flow run oom --wait 2>&1)"

[ "$failures" = 0 ] && echo 'all is well' || { tail -n 20 /var/tmp/log; echo "$failures failures"; }
