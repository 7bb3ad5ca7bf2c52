"""Ways out of an attempt, one a row: what a task may do so that a stop of its process alone leaves something behind.

Each script gets a mark as its first argument; whatever is to be found afterwards has it among its arguments. A script
writes a line into the file `ready` (second argument) when what it leaves behind is there, and the main process stays.
"""

from __future__ import annotations

_KEEP = "while :; do sleep 1; done"
_PY = "import ctypes,fcntl,os,pty,resource,signal,subprocess,sys,termios,threading,time\nM,R=sys.argv[1:3]\n"
_PY += "def ready():\n    os.close(os.open(R,os.O_CREAT|os.O_WRONLY))\n"
_PY += "def sleep():\n    os.execvp('sh', ['sh', '-c', 'while :; do sleep 1; done', M])\n"
_PY += "def stay():\n    ready()\n    while True: time.sleep(60)\n"


def _sh(text: str) -> list[str]:
    """`{m}`: something that stays and has the mark."""
    mark = f"sh -c '{_KEEP}' \"$1\""
    return ["/bin/sh", "-c", text.replace("{m}", mark) + '\n: > "$2"\n' + _KEEP, "task"]


def _py(text: str) -> list[str]:
    return ["/usr/bin/env", "python3", "-I", "-S", "-c", _PY + text]


ESCAPEES: dict[str, list[str]] = {
    "a plain child": _sh("{m} &"),
    "a child that ignores SIGTERM": _sh("(trap '' TERM; exec {m}) &"),
    "a child that ignores all it can": _sh(
        "(trap '' HUP INT QUIT USR1 USR2 PIPE ALRM TERM TSTP TTIN TTOU; exec {m}) &"
    ),
    "a session of its own": _sh("setsid {m} &"),
    "a double fork": _sh("({m} &)"),
    "a double fork with a session": _sh("(setsid {m} &)"),
    "a double fork whose parents are gone": _sh(
        'setsid sh -c \'(setsid "$0" -c "while :; do sleep 1; done" "$1" &)\' sh "$1"'
    ),
    "an empty environment": _sh("env -i setsid {m} &"),
    "closed descriptors": _sh("setsid {m} <&- >&- 2>&- &"),
    "all of that at once": _sh("(trap '' TERM HUP; env -i setsid {m} <&- >&- 2>&- &)"),
    "nohup": _sh("nohup {m} >/dev/null 2>&1 &"),
    "disown": ["/bin/bash", "-c", f'setsid sh -c \'{_KEEP}\' "$1" & disown -a; : > "$2"; {_KEEP}', "task"],
    "a stopped child": _sh("{m} & kill -STOP $!"),
    "a stopped child in a session of its own": _sh("setsid {m} & sleep 0.1; kill -STOP $!"),
    "a stopped main process": _py("if os.fork()==0: sleep()\nready()\nos.kill(os.getpid(),signal.SIGSTOP)"),
    "another working folder, umask, niceness": _sh("(cd /proc; umask 0; nice -n 19 setsid {m} &)"),
    "a deep chain of sessions": _sh(
        'setsid setsid setsid setsid sh -c \'setsid sh -c "$1" "$2" & exit\' sh \'' + _KEEP + '\' "$1" &'
    ),
    "a pipeline": _sh("yes | {m} | cat >/dev/null &"),
    "a daemon by the book": _py(
        "p=os.fork()\nif p==0:\n  os.setsid()\n  if os.fork(): os._exit(0)\n  os.chdir('/')\n  os.umask(0)\n"
        "  os.closerange(0,256)\n  os.open('/dev/null',2); os.dup(0); os.dup(0)\n  sleep()\nos.waitpid(p,0)\nstay()"
    ),
    "a name that is another's": _py(
        "if os.fork()==0:\n  os.setsid()\n  open('/proc/self/comm','w').write('kworker/0:1')\n"
        "  while True: time.sleep(60)\nstay()"
    ),
    "a name with brackets and newlines": _py(
        "if os.fork()==0:\n  os.setsid()\n  open('/proc/self/comm','w').write('a) S 1 (\\n')\n"
        "  while True: time.sleep(60)\nstay()"
    ),
    "not dumpable": _py(
        "if os.fork()==0:\n  os.setsid()\n  ctypes.CDLL(None).prctl(4,0,0,0,0)\n  while True: time.sleep(60)\nstay()"
    ),
    "without a parent's death signal, as a subreaper": _py(
        "if os.fork()==0:\n  os.setsid()\n  ctypes.CDLL(None).prctl(36,1,0,0,0)\n  if os.fork()==0: sleep()\n"
        "  while True: time.sleep(60)\nstay()"
    ),
    "hopping from fork to fork": _py(
        "if os.fork()==0:\n  end=time.monotonic()+120\n  while time.monotonic()<end:\n    if os.fork(): os._exit(0)\n"
        "    os.setsid(); time.sleep(0.002)\n  os._exit(0)\nstay()"
    ),
    "hopping, two at once": _py(
        "for _ in range(2):\n  if os.fork()==0:\n    end=time.monotonic()+120\n    while time.monotonic()<end:\n"
        "      if os.fork(): os._exit(0)\n      os.setsid(); time.sleep(0.003)\n    os._exit(0)\nstay()"
    ),
    "a fork storm": _py(
        "for _ in range(150):\n  if os.fork()==0:\n    os.setsid()\n    while True: time.sleep(60)\nstay()"
    ),
    "vfork chains": _py(
        "if os.fork()==0:\n  for n in range(5):\n    subprocess.Popen([sys.executable,'-I','-S','-c',"
        "'import time\\nwhile True: time.sleep(60)',M],start_new_session=True,close_fds=False)\n  os._exit(0)\nstay()"
    ),
    "threads that fork": _py(
        "def go():\n  if os.fork()==0:\n    os.setsid()\n    while True: time.sleep(60)\n"
        "for t in [threading.Thread(target=go) for _ in range(8)]: t.start(); t.join()\nstay()"
    ),
    "a terminal of its own, like screen": _py(
        "p,f=pty.fork()\nif p==0:\n  if os.fork()==0: sleep()\n  while True: time.sleep(60)\nstay()"
    ),
    "born again at the end": _py(
        "def again(*a):\n  if os.fork()==0:\n    os.setsid()\n    signal.signal(signal.SIGTERM,signal.SIG_IGN)\n"
        "    while True: time.sleep(60)\n  os._exit(0)\nsignal.signal(signal.SIGTERM,again)\nstay()"
    ),
    "a pair that revives each other": _py(
        "def watch():\n  os.setsid()\n  signal.signal(signal.SIGTERM,signal.SIG_IGN)\n  while True:\n    p=os.fork()\n"
        "    if p==0:\n      while True: time.sleep(60)\n    os.waitpid(p,0)\n"
        "for _ in range(2):\n  if os.fork()==0: watch()\nstay()"
    ),
    "one that ptraces another": _py(
        "L=ctypes.CDLL(None)\nq=os.fork()\nif q==0:\n  os.setsid()\n  while True: time.sleep(60)\n"
        "if os.fork()==0:\n  os.setsid()\n  L.ptrace(16,q,0,0)\n  while True: time.sleep(60)\nstay()"
    ),
    "lower limits": _py(
        "if os.fork()==0:\n  os.setsid()\n  for l in (resource.RLIMIT_CPU,resource.RLIMIT_NOFILE,resource.RLIMIT_AS):\n"
        "    s,h=resource.getrlimit(l); resource.setrlimit(l,(s,s))\n"
        "  resource.setrlimit(resource.RLIMIT_RTTIME,(1000,1000))\n  while True: time.sleep(60)\nstay()"
    ),
    "a user namespace": _sh("unshare --user --map-root-user setsid {m} & sleep 0.2"),
    "a pid namespace": _sh("unshare --pid --fork setsid {m} & sleep 0.2"),
    "all namespaces": _sh(
        "unshare --user --map-root-user --pid --mount-proc --ipc --uts --net --fork setsid {m} & sleep 0.3"
    ),
}
NEEDS_ROOT = {"a pid namespace"}
NEEDS_CGROUP = {"lower limits"}
"""Takes off the tag by which processes are known where there are no cgroups."""


def kinds(*, root: bool, cgroup: bool) -> list[str]:
    """Those that can be tried here."""
    left_out = (set() if root else NEEDS_ROOT) | (set() if cgroup else NEEDS_CGROUP)
    return [kind for kind in ESCAPEES if kind not in left_out]
