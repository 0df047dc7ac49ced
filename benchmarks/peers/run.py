"""Measure h5stream beside its peers: makes the data, installs what is missing, prints a table.

    python -m benchmarks.peers.run [--out DIR] [--cases images,table] [--peers h5stream,litdata]

1. Each peer gets a virtual environment of its own over this one, in which pip installs what it
   needs, held to constraints.txt.
2. Each converts each case's file, where it converts: seconds and bytes are told.
3. Peers take turns, with 0 and with 2 workers, and do so several times: a shuffled epoch after
   another for some seconds, in a process of its own, after two batches. The better of 0 and 2
   workers counts, by the median; the slowest and fastest round are told.

Writes results.json (with versions and machine), results.md and one SVG a case into DIR.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.cases import CASES
from h5stream.measure import Measured, as_svg

ROOT = Path(__file__).parents[2]
PEERS = sorted(p.stem.removeprefix("with_") for p in Path(__file__).parent.glob("with_*.py"))
WORKERS = (0, 2)
_LIMIT_S = 300


def environment(peer: str, folder: Path) -> Path:
    """Make the peer's environment, and return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        inside = next(folder.glob("lib/python*/site-packages"))
        (inside / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    source = (Path(__file__).parent / f"with_{peer}.py").read_text()
    wanted = source.split("REQUIREMENTS", 1)[1].split("=", 1)[1].split("]", 1)[0] + "]"
    requirements = json.loads(wanted)
    if requirements:
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run(
            [*pip, "-c", str(ROOT / "constraints.txt"), *requirements], check=True, timeout=_LIMIT_S
        )
    return python


def call(python: Path, *arguments: object) -> dict[str, Any]:
    """Run one measurement; what went wrong is its last line."""
    own = {"PYTHONPATH": str(ROOT), "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [str(python), "-m", "benchmarks.peers.one", *map(str, arguments)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LIMIT_S, env={**os.environ, **own}
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {_LIMIT_S} s"}
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    return {"error": (done.stderr.strip().splitlines() or ["no result"])[-1][:200]}


def run_case(
    name: str, pythons: dict[str, Path], work: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Measure one case: peers and numbers of workers in turns."""
    case, source = CASES[name], work / f"{name}.h5"
    rows = max(1000, int(case.n_rows * options.scale))
    case.write(source, rows)
    found: dict[str, Any] = {}
    for peer, python in pythons.items():
        folder = work / f"{name}-{peer}"
        folder.mkdir()
        found[peer] = {"prepared": call(python, peer, name, source, folder, "prepare")}
    able = [peer for peer in pythons if "error" not in found[peer]["prepared"]]
    for _repeat in range(options.repeats):
        for workers in WORKERS:
            for peer in able:
                arguments = (peer, name, source, work / f"{name}-{peer}", workers, options.seconds)
                told = call(pythons[peer], *arguments)
                runs = found[peer].setdefault(str(workers), [])
                runs.append(told["rows"] / told["seconds"] if "rows" in told else told["error"])
                print(name, peer, workers, runs[-1], flush=True)
    return {"about": case.about, "rows": rows, "bytes": source.stat().st_size, "peers": found}


def best(told: dict[str, Any]) -> tuple[int, list[float]] | None:
    """Choose the number of workers with the better median."""
    rates = {
        workers: [rate for rate in told.get(str(workers), ()) if isinstance(rate, float)]
        for workers in WORKERS
    }
    able = {workers: found for workers, found in rates.items() if found}
    if not able:
        return None
    workers = max(able, key=lambda each: statistics.median(able[each]))
    return workers, able[workers]


def table(results: dict[str, Any]) -> Iterator[str]:
    """Write the table of each case, the fastest first; what failed is named with its reason."""
    for name, case in results["cases"].items():
        size = case["bytes"] / 1e6
        yield f"**{name}**: {case['rows']:,} rows of {case['about']}; {size:,.0f} MB of HDF5"
        yield ""
        yield "| | rows/s, median | slowest to fastest | workers | converted in | to |"
        yield "|---|---:|---:|---:|---:|---:|"
        ranked = {peer: best(told) for peer, told in case["peers"].items()}
        order = sorted(
            (peer for peer, found in ranked.items() if found),
            key=lambda peer: -statistics.median(ranked[peer][1]),  # type: ignore[index]
        )
        for peer in order:
            workers, rates = ranked[peer]  # type: ignore[misc]
            made = case["peers"][peer]["prepared"]
            took = f"{made['seconds']:.1f} s | {made['bytes'] / 1e6:,.0f} MB"
            converted = took if made["bytes"] else "– | –"
            spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
            yield (
                f"| {peer} | {statistics.median(rates):,.0f} | {spread} | {workers} | {converted} |"
            )
        for peer, found in ranked.items():
            if not found:
                told = case["peers"][peer]
                reason = told["prepared"].get("error") or str((told.get("0") or ["?"])[0])
                yield f"| {peer} | – | {reason.replace('|', '/')} | – | – | – |"
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("peers"))
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--environments", type=Path, help="Keep virtual environments here.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--scale", type=float, default=1.0, help="Of the numbers of rows.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        kept = (options.environments or Path(made) / "environments").absolute()
        pythons: dict[str, Path] = {}
        missing: dict[str, str] = {}
        for peer in options.peers.split(","):
            try:
                pythons[peer] = environment(peer, kept / peer)
            except (subprocess.SubprocessError, OSError) as error:
                missing[peer] = f"could not be installed ({type(error).__name__})"
        results: dict[str, Any] = {
            "machine": {"cores": os.cpu_count(), "system": platform.platform()},
            "versions": {n: version(n) for n in ("h5py", "h5stream", "numpy", "torch")},
            "python": platform.python_version(),
            "repeats": options.repeats,
            "seconds": options.seconds,
            "missing": missing,
            "cases": {},
        }
        for name in options.cases.split(","):
            work = Path(made) / name
            work.mkdir()
            case = results["cases"][name] = run_case(name, pythons, work, options)
            ways = [(peer, best(told)) for peer, told in case["peers"].items()]
            bars = [Measured(peer, tuple(found[1])) for peer, found in ways if found]
            bars.sort(key=lambda way: -way.median)
            (options.out / f"{name}.svg").write_text(as_svg(name, bars))
            (options.out / "results.json").write_text(json.dumps(results, indent=1))
            (options.out / "results.md").write_text("\n".join(table(results)))
    print((options.out / "results.md").read_text())


if __name__ == "__main__":
    main()
