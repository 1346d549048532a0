"""Compares TickerML's paper venue with hftbacktest 2.4.4, order by order and field by field.

    run.py hand                      one tape per rule
    run.py random [--count N]        tapes by seed, over all queue models and both kinds of latency
    run.py capture [--data FOLDER]   recorded Binance streams with orders around the touch
    run.py defects                   what hftbacktest's partial-fill exchange does wrong, next to ours
    run.py all                       all of them

Exit code: 0 equal, 1 a difference (or a defect that is gone), 77 skipped, 2 wrong use.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import tapes
from reference import VERSION, Reference, Refused, Row, Tape, text

SKIPPED = 77
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Defect(NamedTuple):
    """A behaviour of hftbacktest that is left out of the comparison, and what either side answers to its tape."""

    what: str
    partial: bool
    """The exchange with partial fills shows it, or the one without."""
    theirs: str
    ours: str
    ends_process: bool = False


DEFECTS = {
    "a-parts-do-not-reach-the-position": Defect(
        "1 is filled as 0.4 and 0.6, and the first part never reaches the local position",
        True,
        "filled 0.6 at 99; position 0.6",
        "filled 1 at 99; position 1",
    ),
    "b-exact-fill-stops-the-run": Defect(
        "a trade fills exactly what is open, the order stays in the book, and the next trade stops the run",
        True,
        "elapse to 10000 returned 14",
        "filled 1 at 99; position 1",
    ),
    "c-two-orders-use-one-trade-twice": Defect(
        "of a trade 1.2 go past the queue, and two orders of 1 at that price are both filled by them",
        True,
        "filled 1 at 99; filled 1 at 99; position 2",
        "filled 1 at 99; partially-filled 0.2 at 99; position 1.2",
    ),
    "d-touch-without-a-trade-fills-all": Defect(
        "an ask of 0.1 comes down to a bid of 5, which is filled whole without a trade",
        True,
        "filled 5 at 99; position 5",
        "partially-filled 0.1 at 99; position 0.1",
    ),
    "e-immediate-over-what-is-there": Defect(
        "immediate-or-cancel 15 where 10 are: 10 trade at the exchange, and nothing reaches the local position",
        True,
        "expired 10 at 101; position 0",
        "expired 10 at 101; position 10",
    ),
    "f-immediate-over-two-levels": Defect(
        "immediate-or-cancel 15 over levels of 10 and 5: only the last level reaches the local position",
        True,
        "filled 5 at 102; position 5",
        "filled 15 at 102; position 15",
    ),
    "g-remainder-at-the-limit-fills": Defect(
        "a limit order of 15 at a touch of 10 is filled whole at its limit",
        True,
        "filled 15 at 101; position 15",
        "partially-filled 10 at 101; position 10",
    ),
    "h-replacement-forgets-its-quantity": Defect(
        "an order of 1 is replaced by one of 3 at another price, and 1 is all that it trades",
        False,
        "filled 1 at 98; position 1",
        "filled 3 at 98; position 3",
    ),
    "i-market-order-without-a-book": Defect(
        "a market order to buy meets no ask, and trades at the greatest integer",
        False,
        "order 1 traded where there is no price: no level stood on its other side",
        "rejected 0 at 0; position 0",
    ),
    "j-late-cancel-counts-a-fill-twice": Defect(
        "an order is filled, a cancel comes too late, and its refusal adds the fill to the position again",
        False,
        "filled 1 at 99; position 2",
        "filled 1 at 99; position 1",
    ),
    "k-answer-in-the-time-of-a-refusal": Defect(
        "an order is filled between a recorded request that was refused and the next, nanoseconds before the second was taken: rounding makes its answer come before it",
        False,
        "the process ends with code -6",
        "filled 1 at 99; position 1",
        ends_process=True,
    ),
}


class Ours:
    """The `paper-tape` program."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.complaints = ""

    def run(self, paths: list[Path], *options: str) -> dict[str, list[Row]]:
        """The orders of each file; of a file that it refuses, none."""
        command = [str(self.program), *options, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{self.program} ended with {done.returncode}: {done.stderr}")
        self.complaints = done.stderr
        lines = map(json.loads, done.stdout.splitlines())
        return {line["file"]: line["orders"] for line in lines}


class Comparison:
    """Both sides, and what they were seen to do."""

    def __init__(self, ours: Ours, keep: Path) -> None:
        self.ours, self.keep = ours, keep
        self.reference = Reference()
        self.seen: Counter[str] = Counter()
        self.failed = False

    def theirs(self, tape: Tape) -> list[Row] | str:
        """The reference's orders, or the word with which it stopped."""
        try:
            return self.reference.run(tape)
        except Refused as refused:
            return str(refused)

    def differing(self, named: dict[str, Tape]) -> dict[str, tuple[list[Row] | str, list[Row] | str]]:
        """The tapes on which the two sides differ, with both answers."""
        with tempfile.TemporaryDirectory(prefix="tickerml-parity-") as folder:
            for name, tape in named.items():
                (Path(folder) / f"{name}.json").write_text(json.dumps(tape))
            answers = self.ours.run([Path(folder)])
            found = {}
            for name, tape in named.items():
                ours: list[Row] | str = answers.get(str(Path(folder) / f"{name}.json"), self.ours.complaints)
                theirs = self.theirs(tape)
                if ours != theirs:
                    found[name] = (ours, theirs)
                self.count(tape, theirs)
        return found

    def count(self, tape: Tape, orders: list[Row] | str) -> None:
        """Keeps what the reference did, so that a run shows what it covered."""
        self.seen["tapes"] += 1
        self.seen["events"] += len(tape["events"])
        self.seen["cancels"] += sum(order["kind"] == "cancel" for order in tape["orders"])
        self.seen["replacements"] += sum(order["kind"] == "replace" for order in tape["orders"])
        for order in orders if isinstance(orders, list) else []:
            kind = ("made" if order["maker"] else "taken") if order["status"] == "filled" else order["status"]
            self.seen[f"order {kind}"] += 1
            self.seen["orders"] += 1

    def check(self, what: str, named: dict[str, Tape]) -> None:
        """Compares tapes; shows and keeps the shortest that differs, cut down as far as it will go."""
        self.seen.clear()
        began = time.monotonic()
        found = self.differing(named)
        seen = ", ".join(f"{key} {count}" for key, count in sorted(self.seen.items()))
        print(f"{what}: {len(found)} of {len(named)} tapes differ ({seen}; {time.monotonic() - began:.1f} s)", flush=True)
        if found:
            self.failed = True
            names = sorted(found, key=lambda name: len(named[name]["events"]) + len(named[name]["orders"]))
            print("  differing: " + ", ".join(names[:20]) + (", …" if len(names) > 20 else ""))
            self.show(names[0], self.shrunk(named[names[0]]))

    def shrunk(self, tape: Tape) -> Tape:
        """The tape without every row that it can do without and still differ."""
        width = max(1, len(tape["events"]) // 2)
        while True:
            shorter = {}
            for key in ("orders", "events"):
                step = width if key == "events" else 1
                for start in range(0, len(tape[key]), step):
                    rest = tape[key][:start] + tape[key][start + step :]
                    candidate = tape | {key: rest}
                    if valid(candidate):
                        shorter[f"{len(shorter):06}"] = candidate
            found = self.differing(shorter) if shorter else {}
            # What is cut must not make the reference stop: that is another difference.
            found = {name: answers for name, answers in found.items() if not isinstance(answers[1], str)}
            if found:
                tape = shorter[min(found)]
            elif width == 1:
                return tape
            else:
                width //= 2

    def show(self, name: str, tape: Tape) -> None:
        """Keeps a tape and prints what either side says of it."""
        self.keep.mkdir(parents=True, exist_ok=True)
        path = self.keep / f"{name}.json"
        path.write_text(json.dumps(tape, indent=1) + "\n")
        ours = self.ours.run([path]).get(str(path), self.ours.complaints)
        theirs = self.theirs(tape)
        print(f"  {path}\n  {json.dumps(tape)}\n  tickerml:    {json.dumps(ours)}\n  hftbacktest: {json.dumps(theirs)}", flush=True)


def valid(tape: Tape) -> bool:
    """Whether a cut tape still has its first event first and no request about an order that is gone."""
    if not tape["events"] or not tape["orders"] or tape["orders"][0]["t"] < tape["events"][0]["t"]:
        return False
    sent = {order["id"] for order in tape["orders"] if order["kind"] in ("limit", "market")}
    return all(order["id"] in sent for order in tape["orders"])


def check_random(comparison: Comparison, count: int, seed: int) -> None:
    """Tapes by seed."""
    comparison.check(
        f"random tapes from seed {seed}",
        {f"random-{number:06}": tapes.at_random(number) for number in range(seed, seed + count)},
    )


def check_captures(comparison: Comparison, data: Path) -> int:
    """Recorded streams under all queue models."""
    folder = data / "hftbacktest-binance-raw"
    missing = [f for files, _, _ in tapes.CAPTURES.values() for f in files if not (folder / f).is_file()]
    if missing:
        print(f"SKIPPED capture: {folder} lacks {', '.join(missing)}; set TICKERML_DATA or --data", file=sys.stderr)
        return SKIPPED
    for name in tapes.CAPTURES:
        tape = tapes.recorded(folder, name)
        with tempfile.TemporaryDirectory(prefix="tickerml-parity-") as place:
            path = Path(place) / f"{name}.json"
            path.write_text(json.dumps(tape))
            for model in tapes.MODELS:
                check_capture(comparison, path, tape | {"queue_model": model})
    return 0


def check_capture(comparison: Comparison, path: Path, tape: Tape) -> None:
    """One recorded stream under one queue model."""
    model, rows = tape["queue_model"], len(tape["events"])
    ours = comparison.ours.run([path], "--time", "--queue-model", model).get(str(path), [])
    speed = comparison.ours.complaints.strip()
    before = comparison.reference.elapse_seconds
    theirs = comparison.theirs(tape)
    seconds = comparison.reference.elapse_seconds - before
    differing = sum(a != b for a, b in zip(ours, theirs)) if len(ours) == len(theirs) else max(len(ours), len(theirs))
    seen = Counter("made" if o["maker"] else "taken" if o["status"] == "filled" else o["status"] for o in ours)
    counts = ", ".join(f"{count} {key}" for key, count in sorted(seen.items()))
    print(f"{path.stem} {model}: {differing} of {len(theirs)} orders differ ({counts})", flush=True)
    print(f"  tickerml {speed}; hftbacktest {rows} rows in {seconds:.3f} s: {rows / seconds:.0f} rows/s", flush=True)
    if differing:
        comparison.failed = True
        pairs = [(a, b) for a, b in zip(ours, theirs) if a != b]
        for a, b in pairs[:3]:
            print(f"  tickerml:    {json.dumps(a)}\n  hftbacktest: {json.dumps(b)}")
        comparison.keep.mkdir(parents=True, exist_ok=True)
        kept = comparison.keep / f"{path.stem}-{model}.json"
        kept.write_text(json.dumps(tape))
        print(f"  {kept}", flush=True)


def check_defects(comparison: Comparison) -> None:
    """Runs each excluded behaviour: it must still be there, or the exclusion is out of date."""
    for name, defect in DEFECTS.items():
        path = HERE / "defects" / f"{name}.json"
        tape = json.loads(path.read_text())
        answer = comparison.ours.run([path], "--rules", "realistic").get(str(path))
        ours = in_short(answer, traded(tape, answer)) if answer else comparison.ours.complaints
        try:
            if defect.ends_process:
                command = [sys.executable, str(HERE / "reference.py"), str(path)]
                ended = subprocess.run(command, capture_output=True, check=False).returncode
                raise Refused(f"the process ends with code {ended}")
            orders, position = comparison.reference.run_with_position(tape, defect.partial)
            theirs = in_short(orders, Decimal(repr(position)))
        except Refused as refused:
            theirs = str(refused)
        exchange = "PartialFillExchange" if defect.partial else "NoPartialFillExchange"
        print(f"{name}: {defect.what}\n  hftbacktest, {exchange}: {theirs}\n  tickerml, realistic: {ours}")
        for side, got, expected in (("hftbacktest", theirs, defect.theirs), ("tickerml", ours, defect.ours)):
            if got != expected:
                comparison.failed = True
                print(f"  DIFFERS: {side} is expected to give: {expected}", flush=True)


def traded(tape: Tape, orders: list[Row]) -> Decimal:
    """The position that the executed quantities of a tape's orders add up to."""
    sides = {order["id"]: order["side"] for order in tape["orders"] if "side" in order}
    signed = (Decimal(o["executed"]) * (1 if sides[o["id"]] == "buy" else -1) for o in orders)
    return sum(signed, Decimal(0))


def in_short(orders: list[Row], position: Decimal) -> str:
    """What matters of orders that show a defect."""
    told = (f"{order['status']} {order['executed']} at {order['price']}" for order in orders)
    return f"{'; '.join(told)}; position {text(position)}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=f"Compares the paper venue with hftbacktest {VERSION}")
    parser.add_argument("what", choices=("hand", "random", "capture", "defects", "all"))
    parser.add_argument("--paper-tape", type=Path, required=True, help="the program of that name, built for release")
    parser.add_argument("--count", type=int, default=10_000, help="random tapes")
    parser.add_argument("--seed", type=int, default=0, help="the first random tape's seed")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="recorded data")
    parser.add_argument("--keep", type=Path, default=Path("parity-failures"), help="folder for tapes that differ")
    arguments = parser.parse_args()
    comparison = Comparison(Ours(arguments.paper_tape), arguments.keep)
    everything = arguments.what == "all"
    skipped = 0
    if everything or arguments.what == "hand":
        comparison.check("tapes by hand", tapes.by_hand())
    if everything or arguments.what == "random":
        check_random(comparison, arguments.count, arguments.seed)
    if everything or arguments.what == "defects":
        check_defects(comparison)
    if everything or arguments.what == "capture":
        skipped = check_captures(comparison, arguments.data)
    if comparison.failed:
        return 1
    return skipped if arguments.what == "capture" else 0


if __name__ == "__main__":
    sys.exit(main())
