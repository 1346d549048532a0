"""Runs tapes through the real hftbacktest 2.4.4: the reference that TickerML's paper venue is compared with.

    reference.py [--partial] [--queue-model NAME] [--time] FILE|FOLDER...

prints for each tape the line that `paper-tape` prints. The format of a tape is told in docs/PARITY.md.

Only the extension module of the wheel is loaded: the package around it compiles with numba and wants
polars and holoviews, none of which takes part in a fill.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.machinery
import importlib.util
import json
import re
import sys
import time
from ctypes import POINTER, c_bool, c_double, c_int64, c_uint8, c_uint64, c_void_p
from decimal import Decimal
from pathlib import Path
from typing import Any

Tape = dict[str, Any]
Row = dict[str, Any]

VERSION = "2.4.4"

EXCHANGE, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
KINDS = {"depth": 1, "trade": 2, "snapshot": 4}
SIDES = {"buy": BUY, "sell": SELL}
TIMES_IN_FORCE = {"gtc": 0, "gtx": 1, "fok": 2, "ioc": 3}
ORDER_KINDS = {"limit": 0, "market": 1}
STATUSES = {0: "new", 1: "new", 2: "expired", 3: "filled", 4: "canceled", 5: "partially-filled", 6: "rejected"}
EXPIRED, FILLED, PARTLY = 2, 3, 5

OK, END_OF_DATA = 0, 1
"""What `elapse` returns when nothing is wrong."""
REQUEST_ON_ITS_WAY = 11
"""Return code of a cancel or a modify that never left: the last request about the order is not answered."""

NO_PRICE = 2**63 - 1
"""The tick of the best price of a side without levels."""


class Event(ctypes.Structure):
    """A row of market data (`event_dtype` of the package)."""

    _fields_ = [
        ("ev", c_uint64),
        ("exch_ts", c_int64),
        ("local_ts", c_int64),
        ("px", c_double),
        ("qty", c_double),
        ("order_id", c_uint64),
        ("ival", c_int64),
        ("fval", c_double),
    ]


class Latency(ctypes.Structure):
    """A row of recorded order latency."""

    _fields_ = [("req_ts", c_int64), ("exch_ts", c_int64), ("resp_ts", c_int64), ("padding", c_int64)]


class Order(ctypes.Structure):
    """An order as `orders_get` shows it (`order_dtype` of the package)."""

    _fields_ = [
        ("qty", c_double),
        ("leaves_qty", c_double),
        ("exec_qty", c_double),
        ("exec_price_tick", c_int64),
        ("price_tick", c_int64),
        ("tick_size", c_double),
        ("exch_timestamp", c_int64),
        ("local_timestamp", c_int64),
        ("order_id", c_uint64),
        ("q1", c_uint64),
        ("q2", c_uint64),
        ("maker", c_bool),
        ("order_type", c_uint8),
        ("req", c_uint8),
        ("status", c_uint8),
        ("side", ctypes.c_int8),
        ("time_in_force", c_uint8),
    ]


def load() -> tuple[Any, ctypes.CDLL]:
    """The extension module twice: as Python's module, which builds, and as a C library, which runs."""
    root = next((Path(p) / "hftbacktest" for p in sys.path if (Path(p) / "hftbacktest").is_dir()), None)
    if root is None:
        raise SystemExit(f"hftbacktest is not installed here; run: pip install --no-deps hftbacktest=={VERSION}")
    if not (root.parent / f"hftbacktest-{VERSION}.dist-info").is_dir():
        raise SystemExit(f"{root} is not version {VERSION}; run: pip install --no-deps hftbacktest=={VERSION}")
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    path = next((p for p in root.glob("_hftbacktest*") if any(p.name.endswith(s) for s in suffixes)), None)
    if path is None:
        raise SystemExit(f"{root} holds no extension module for this Python ({sys.version.split()[0]})")
    spec = importlib.util.spec_from_file_location("_hftbacktest", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    library = ctypes.CDLL(str(path))
    submit = [c_void_p, c_uint64, c_uint64, c_double, c_double, c_uint8, c_uint8, c_bool]
    for name, result, arguments in (
        ("hashmapbt_elapse", c_int64, [c_void_p, c_uint64]),
        ("hashmapbt_current_timestamp", c_int64, [c_void_p]),
        ("hashmapbt_submit_buy_order", c_int64, submit),
        ("hashmapbt_submit_sell_order", c_int64, submit),
        ("hashmapbt_modify", c_int64, [c_void_p, c_uint64, c_uint64, c_double, c_double, c_bool]),
        ("hashmapbt_cancel", c_int64, [c_void_p, c_uint64, c_uint64, c_bool]),
        ("hashmapbt_orders", c_void_p, [c_void_p, c_uint64]),
        ("hashmapbt_position", c_double, [c_void_p, c_uint64]),
        ("orders_get", POINTER(Order), [c_void_p, c_uint64]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return module, library


def aligned(row: type[ctypes.Structure], count: int) -> Any:
    """An array of `count` rows on a cache line, as the library's own allocations are."""
    line = 64
    buffer = ctypes.create_string_buffer(count * ctypes.sizeof(row) + line)
    offset = -ctypes.addressof(buffer) % line
    return (row * count).from_buffer(buffer, offset)


def text(value: Decimal) -> str:
    """A decimal without an exponent and without zeros at its end."""
    return format(value.normalize() + 0, "f")


class Refused(Exception):
    """The reference stopped with a return code."""


class Reference:
    """The library, loaded once."""

    def __init__(self) -> None:
        self.module, self.library = load()
        self.elapse_seconds = 0.0
        """Time spent in the library since the start, without building a tape's rows."""

    def queue_model(self, asset: Any, name: str) -> Any:
        """Sets the queue model of a tape."""
        plain = {
            "risk_averse": lambda: asset.risk_adverse_queue_model(),
            "log": lambda: asset.log_prob_queue_model(),
            "log2": lambda: asset.log_prob_queue_model2(),
            "square": lambda: asset.power_prob_queue_model(2.0),
        }
        if name in plain:
            return plain[name]()
        parts = re.fullmatch(r"power(?:([23])_)?(\d+(?:\.\d+)?)", name)
        if parts is None:
            raise ValueError(f"queue_model {name!r} is none of the seven")
        which = {None: asset.power_prob_queue_model, "2": asset.power_prob_queue_model2, "3": asset.power_prob_queue_model3}
        return which[parts[1]](float(parts[2]))

    def rows(self, tape: Tape) -> Any:
        """The events, and one long after the end: without it time would stop with the data."""
        events = tape["events"]
        rows = aligned(Event, len(events) + 1)
        for row, event in zip(rows, events):
            row.ev = KINDS[event["kind"]] | SIDES[event["side"]] | EXCHANGE | LOCAL
            row.exch_ts = row.local_ts = event["t"]
            row.px, row.qty = float(event["price"]), float(event["quantity"])
        last = rows[len(events)]
        last.ev, last.exch_ts, last.local_ts = EXCHANGE | LOCAL, tape["end"] + 10**15, tape["end"] + 10**15
        return rows

    def build(self, tape: Tape, partial: bool) -> tuple[Any, list[Any]]:
        """A backtest of one asset without fees, and what must stay alive as long."""
        rows = self.rows(tape)
        asset = self.module.BacktestAsset()
        asset._add_data_ndarray(ctypes.addressof(rows), len(rows))
        asset = asset.linear_asset(1.0).trading_value_fee_model(0.0, 0.0)
        kept = [rows]
        if tape.get("latency_rows"):
            latency = aligned(Latency, len(tape["latency_rows"]))
            for row, values in zip(latency, tape["latency_rows"]):
                row.req_ts, row.exch_ts, row.resp_ts = values
            kept.append(latency)
            asset._intp_order_latency_ndarray(ctypes.addressof(latency), len(latency), 0)
        else:
            asset = asset.constant_order_latency(*tape["latency_ns"])
        asset = self.queue_model(asset, tape["queue_model"])
        asset = asset.partial_fill_exchange() if partial else asset.no_partial_fill_exchange()
        asset = asset.tick_size(float(tape["tick"])).lot_size(float(tape["lot"]))
        asset = asset.parallel_load(False).last_trades_capacity(0)
        return self.module.build_hashmap_backtest([asset]), kept

    def goto(self, backtest: Any, until: int) -> None:
        """Lets everything happen up to a time, that time included."""
        now = self.library.hashmapbt_current_timestamp(backtest)
        code = self.library.hashmapbt_elapse(backtest, until - now)
        if code not in (OK, END_OF_DATA):
            raise Refused(f"elapse to {until} returned {code}")

    def run(self, tape: Tape, partial: bool = False) -> list[Row]:
        """The orders of a tape as they are known locally at its end."""
        return self.run_with_position(tape, partial)[0]

    def run_with_position(self, tape: Tape, partial: bool = False) -> tuple[list[Row], float]:
        """The orders and the position as they are known locally at a tape's end."""
        backtest, kept = self.build(tape, partial)
        library = self.library
        began = time.perf_counter()
        # The first call starts the clock at the first event and lets all of that time happen.
        library.hashmapbt_elapse(backtest, 0)
        if library.hashmapbt_current_timestamp(backtest) != tape["events"][0]["t"]:
            raise Refused("the clock did not start at the first event")
        ids = []
        for order in tape["orders"]:
            if order["t"] > tape["end"]:
                break
            self.goto(backtest, order["t"])
            if order["kind"] == "cancel":
                code = library.hashmapbt_cancel(backtest, 0, order["id"], False)
                allowed = {REQUEST_ON_ITS_WAY}
            elif order["kind"] == "replace":
                price, quantity = float(order["price"]), float(order["quantity"])
                code = library.hashmapbt_modify(backtest, 0, order["id"], price, quantity, False)
                allowed = {REQUEST_ON_ITS_WAY}
            else:
                submit = library.hashmapbt_submit_buy_order
                if order["side"] == "sell":
                    submit = library.hashmapbt_submit_sell_order
                # A market order has no price, and the call wants one.
                price = float(order["price"]) if order["kind"] == "limit" else 0.0
                quantity = float(order["quantity"])
                force = TIMES_IN_FORCE[order.get("time_in_force", "gtc")]
                code = submit(backtest, 0, order["id"], price, quantity, force, ORDER_KINDS[order["kind"]], False)
                allowed = set()
                ids.append(order["id"])
            if code != OK and code not in allowed:
                raise Refused(f"{order['kind']} of order {order['id']} returned {code}")
        self.goto(backtest, tape["end"])
        self.elapse_seconds += time.perf_counter() - began
        orders = library.hashmapbt_orders(backtest, 0)
        tick = Decimal(tape["tick"])
        rows = [self.row(library.orders_get(orders, number).contents, tick) for number in ids]
        position = library.hashmapbt_position(backtest, 0)
        del kept
        return rows, position

    def row(self, order: Order, tick: Decimal) -> Row:
        """One order in the words of `paper-tape`."""
        traded = order.status in (FILLED, PARTLY)
        status = STATUSES[order.status]
        if traded and abs(order.exec_price_tick) >= NO_PRICE:
            raise Refused(f"order {order.order_id} traded where there is no price: no level stood on its other side")
        # It failed on its way, which the library calls expired, and no venue time was ever known.
        if order.status == EXPIRED and order.exch_timestamp == 0:
            status = "rejected"
        executed = Decimal(repr(order.exec_qty)) if order.exec_qty else Decimal(0)
        return {
            "id": order.order_id,
            "status": status,
            "executed": text(executed),
            "price": text((order.exec_price_tick if traded else order.price_tick) * tick),
            "maker": order.maker,
            "exchange_time": order.exch_timestamp,
            "local_time": order.local_timestamp,
        }


def tape_files(paths: list[Path]) -> list[Path]:
    """The files named, and the tapes of the folders named in the order of their names."""
    files: list[Path] = []
    for path in paths:
        files.extend(sorted(path.glob("*.json")) if path.is_dir() else [path])
    return files


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Runs tapes through hftbacktest " + VERSION)
    parser.add_argument("--partial", action="store_true", help="use the partial-fill exchange")
    parser.add_argument("--queue-model", help="use this queue model for every tape")
    parser.add_argument("--time", action="store_true", help="say on stderr how many rows a second went through")
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER")
    arguments = parser.parse_args()
    reference = Reference()
    rows = 0
    for path in tape_files(arguments.paths):
        tape = json.loads(path.read_text())
        if arguments.queue_model:
            tape["queue_model"] = arguments.queue_model
        rows += len(tape["events"])
        orders = reference.run(tape, arguments.partial)
        print(json.dumps({"file": str(path), "orders": orders}, separators=(",", ":")))
    if arguments.time:
        seconds = reference.elapse_seconds
        print(f"{rows} rows in {seconds:.3f} s: {rows / seconds:.0f} rows/s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
