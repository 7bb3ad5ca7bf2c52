"""A11: a task that writes 1 GB of log beside a plain redirect. A12: `logs` of 100 MB to a pipe beside `cat`."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.harness import BIN, command_s, daemon, in_turns, ratio, say, wall_s
from benchmarks.idle import TICKS_S, cpu_ticks

BYTES = 1 << 30
LINE = "0123456789012345678901234567890123456789012345678901234567890123456789 abc\n"


def pipe_s(*command: str | Path) -> float:
    """A command whose output a `cat` reads."""
    return command_s("sh", "-c", f"{' '.join(map(str, command))} | cat > /dev/null")


def redirect_s(writer: str, target: Path) -> float:
    """The same writer with its output straight into a file, which is taken away after the clock has stopped."""
    taken = command_s("sh", "-c", f"{writer} > {target}")
    target.unlink()
    return taken


def main(rounds: int = 3) -> None:
    with daemon(log_max_bytes="8GiB", run_log_max_bytes="16GiB", retention={"runs": 1}) as bench:
        writer = f"yes {LINE.strip()!r} | head -c {BYTES}"
        small = bench.root / "small"
        with small.open("w") as file:
            file.write(LINE * (100_000_000 // len(LINE)))
        bench.install(
            big={"tasks": {"a": {"argv": ["sh", "-c", writer]}}},
            hundred={"tasks": {"a": {"argv": ["cat", str(small)]}}},
        )
        target = bench.root / "redirect"
        pids = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in bench.pids()}
        brain = bench.process.pid
        logger = next(pid for pid, line in pids.items() if b"--logger" in line)
        before = cpu_ticks(brain), cpu_ticks(logger)
        ours, plain = in_turns(
            rounds,
            lambda: wall_s(bench.run("big")),
            lambda: redirect_s(writer, target),
        )
        runs = rounds + 1
        brain_s, logger_s = (
            (cpu_ticks(pid) - was) / TICKS_S / runs for pid, was in zip((brain, logger), before, strict=True)
        )
        times = ratio(ours, plain)
        figures = (
            f"{median(ours):.2f} s against {median(plain):.2f} s; CPU: daemon {brain_s:.2f} s, logger {logger_s:.2f} s"
        )
        met = times <= 1.2 and brain_s <= 0.02 and logger_s <= 1
        say("A11", f"1 GB of log: {times:.2f} times a redirect; {figures}", "1.2; 0.02 s, 1 s", met=met)
        run = bench.run("hundred")["run"]
        ctl = (BIN / "pyflowctl", "--root", bench.root)
        shown, raw, cat = in_turns(
            5,
            lambda: pipe_s(*ctl, "logs", run),
            lambda: pipe_s(*ctl, "logs", run, "--raw"),
            lambda: pipe_s("cat", small),
        )
        times, plain_times = ratio(raw, cat), ratio(shown, cat)
        say("A12", f"logs of 100 MB: --raw {times:.2f}, stamped {plain_times:.2f} times cat", "2", met=times <= 2)


if __name__ == "__main__":
    main()
