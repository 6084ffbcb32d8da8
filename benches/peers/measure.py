"""Measures this program beside its peers; see `run`, which calls it.

One row is one piece of work for one engine. Everything is warm: a first run of each is not
counted, then both take turns, and the medians are compared. This program is asked over HTTP, as a
server that does one stage alone, so that its figures hold sending and packing too.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from xml.sax.saxutils import escape

import chain
import marian
import speech
import text
import transcription
import translation
from common import PEERS_STARTS, SERVERS

PARTS = {
    "transcription": transcription.rows,
    "text": text.rows,
    "voices": speech.rows,
    "translation": translation.rows,
    "marian": marian.rows,
    "chain": chain.rows,
}


def measure(rows, runs):
    """Runs the two sides of every row in turn; gives the medians of seconds."""
    for row in rows:
        figures = {"ours": [], "theirs": []}
        for number in range(runs + 1):
            for side in figures if number % 2 else reversed(figures):
                began = time.perf_counter()
                seconds = getattr(row, side)()
                # A side may know better what its work took, such as the time to the first sound.
                took = seconds if isinstance(seconds, float) else time.perf_counter() - began
                if number > 0:
                    figures[side].append(took)
        medians = {side: statistics.median(took) for side, took in figures.items()}
        notes = dict(row.notes)
        if row.sound:
            factors = [took / sound for took, sound in zip(medians.values(), row.sound)]
            notes["real-time factor"] = f"{factors[0]:.3f} and {factors[1]:.3f}"
        yield {
            "what": row.what,
            "peer": row.peer,
            "unit": row.unit,
            **{side: row.figure(seconds) for side, seconds in medians.items()},
            "ratio": medians["ours"] / medians["theirs"],
            "seconds": figures,
            **notes,
        }


def part_in_process_of_its_own(name, runs):
    """Memory is that of one part alone, and a part that dies leaves the others."""
    command = [sys.executable, __file__, "--only", name, "--runs", str(runs), "--lines"]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if output.returncode != 0:
        print(f"{name} failed", file=sys.stderr)
    return [json.loads(line) for line in output.stdout.splitlines()]


def picture(rows):
    """The ratios as an SVG of bars, with a line where both take the same time."""
    scale, left, step = 160, 330, 18
    widest = max([1.2] + [row["ratio"] for row in rows])
    width, height = left + widest * scale + 60, len(rows) * step + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        'font-family="sans-serif" font-size="11" role="img">',
        "<title>Time by the peer's time</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for at, row in enumerate(rows):
        y, length = at * step + 8, row["ratio"] * scale
        name = escape(f"{row['what']}: {row['peer'].split(',')[0]}")
        colour = "#0072b2" if row["ratio"] <= 1 else "#e69f00"
        lines += [
            f'<text x="0" y="{y + 10}">{name}</text>',
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="13" fill="{colour}"/>',
            f'<text x="{left + length + 5:.1f}" y="{y + 10}">{row["ratio"]:.2f}</text>',
        ]
    lines += [
        f'<path d="M{left + scale} 4V{height - 8}" stroke="#333" stroke-dasharray="3 3"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure these parts")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each row")
    parser.add_argument("--json", type=Path, default=Path("peers.json"))
    parser.add_argument("--svg", type=Path, help="write a picture of the ratios here")
    parser.add_argument("--lines", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.lines:
        for result in measure(PARTS[arguments.only[0]](), arguments.runs):
            print(json.dumps(result), flush=True)
        cost = {
            "part": arguments.only[0],
            "start_s": sum(server.start_s for server in SERVERS),
            "peers_start_s": PEERS_STARTS,
            "our_mb": sum(server.memory_mb() for server in SERVERS),
            "their_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        print(json.dumps(cost))
        return
    results = []
    for name in arguments.only or PARTS:
        print(f"==> {name}", file=sys.stderr)
        results += part_in_process_of_its_own(name, arguments.runs)
    arguments.json.write_text(json.dumps(results, indent=1))
    if arguments.svg:
        arguments.svg.write_text(picture([row for row in results if "what" in row]))
    print(f"{os.cpu_count()} cores, median of {arguments.runs}\n")
    print("| what | peer | ours | theirs | time, ours/theirs | notes |")
    print("|---|---|---|---|---|---|")
    for row in (row for row in results if "what" in row):
        known = {"what", "peer", "unit", "ours", "theirs", "ratio", "seconds"}
        notes = "; ".join(f"{key} {value}" for key, value in row.items() if key not in known)
        print(
            f"| {row['what']} | {row['peer']} | {row['ours']:.3g} {row['unit']} "
            f"| {row['theirs']:.3g} {row['unit']} | {row['ratio']:.2f} | {notes} |"
        )
    print("\n| part | our start, s | theirs | our memory at most, MB | its peers' in one process |")
    print("|---|---|---|---|---|")
    for row in (row for row in results if "part" in row):
        ours = (f"{row['start_s']:.1f}", row["our_mb"]) if row["our_mb"] else ("", "")
        theirs = ", ".join(f"{peer} {took:.1f}" for peer, took in row["peers_start_s"].items())
        print(f"| {row['part']} | {ours[0]} | {theirs} | {ours[1]} | {row['their_mb']} |")


if __name__ == "__main__":
    main()
