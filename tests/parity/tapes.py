"""Tapes: by hand one per rule, at random by seed, and from recorded Binance streams."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from reference import Row, Tape, text

MODELS = ("risk_averse", "log", "log2", "power3", "power2_3", "power3_3", "square")
OPEN_AT_ONCE = 60
"""Orders that rest at once, at most: more than a desk would leave."""

FAR = 150
"""Ticks from the first mid to a level that nobody takes."""


def level(t: int, side: str, price: object, quantity: object, kind: str = "depth") -> Row:
    """A row of a book."""
    return {"t": t, "kind": kind, "side": side, "price": str(price), "quantity": str(quantity)}


def trade(t: int, aggressor: str, price: object, quantity: object) -> Row:
    """A trade."""
    return level(t, aggressor, price, quantity, "trade")


def limit(t: int, number: int, side: str, price: object, quantity: object, force: str = "gtc") -> Row:
    """A limit order."""
    what = {"kind": "limit", "time_in_force": force}
    return {"t": t, "id": number, "side": side, "price": str(price), "quantity": str(quantity), **what}


def market(t: int, number: int, side: str, quantity: object) -> Row:
    """A market order."""
    return {"t": t, "id": number, "side": side, "quantity": str(quantity), "kind": "market"}


def cancel(t: int, number: int) -> Row:
    """A request to end an order."""
    return {"t": t, "id": number, "kind": "cancel"}


def replace(t: int, number: int, price: object, quantity: object) -> Row:
    """A request to change an order."""
    return {"t": t, "id": number, "kind": "replace", "price": str(price), "quantity": str(quantity)}


def tape(
    events: list[Row],
    orders: list[Row],
    model: str = "log2",
    latency: tuple[int, int] = (10, 20),
    tick: str = "1",
    lot: str = "0.01",
    end: int = 10_000,
    rows: list[tuple[int, int, int]] | None = None,
) -> Tape:
    """A tape."""
    made: Tape = {"events": events, "orders": orders, "queue_model": model, "latency_ns": list(latency)}
    if rows is not None:
        made["latency_rows"] = [list(row) for row in rows]
    return made | {"tick": tick, "lot": lot, "end": end}


BOOK = [
    level(100, "buy", 98, 30, "snapshot"),
    level(100, "buy", 99, 10, "snapshot"),
    level(100, "sell", 101, 10, "snapshot"),
    level(100, "sell", 102, 30, "snapshot"),
]
"""A book of two levels a side."""

SMALLEST_TRADES = {
    "risk_averse": "10.005",
    "log": "7.005",
    "log2": "8.7307",
    "power3": "7.005",
    "power2_3": "4.755",
    "power3_3": "9.255",
    "square": "7.005",
}
"""What must trade at a level of 20 that fell to 14, 10 of it ahead, until the order behind is filled: half a
lot more than what the model leaves ahead of it, to four decimals."""


def by_hand() -> dict[str, Tape]:
    """One small tape per rule."""
    tapes = {
        "no-event-fills-nothing": tape(BOOK, [limit(150, 1, "buy", 99, 1), limit(150, 2, "sell", 101, 1)]),
        "trade-through-fills": tape(BOOK + [trade(500, "sell", 98, "0.01")], [limit(150, 1, "buy", 99, 5)]),
        "trade-in-front-of-it-fills-nothing": tape(BOOK + [trade(500, "sell", 99, 100)], [limit(150, 1, "buy", 98, 5)]),
        "buy-trade-fills-no-bid": tape(BOOK + [trade(500, "buy", 99, 100)], [limit(150, 1, "buy", 99, 5)]),
        "ask-that-comes-down-fills": tape(BOOK + [level(500, "sell", 99, "0.1")], [limit(150, 1, "buy", 99, 5)]),
        "bid-that-comes-up-fills": tape(BOOK + [level(500, "buy", 102, "0.1")], [limit(150, 1, "sell", 101, 5)]),
        "one-order-on-each-side": tape(
            BOOK + [trade(500, "sell", 99, 11), trade(600, "buy", 101, 11)],
            [limit(150, 1, "buy", 99, 1), limit(150, 2, "sell", 101, 1)],
        ),
        "two-orders-at-one-price-fill-each-by-itself": tape(
            BOOK + [trade(500, "sell", 99, "10.5")], [limit(150, 1, "buy", 99, 1), limit(160, 2, "buy", 99, 1)]
        ),
        "takes-all-at-the-touch": tape(BOOK, [limit(150, 1, "buy", 102, 500), limit(151, 2, "sell", 98, 500)]),
        "market-order-takes-all-at-the-touch": tape(BOOK, [market(150, 1, "buy", 500), market(151, 2, "sell", 500)]),
        "post-only-that-would-take-expires": tape(
            BOOK, [limit(150, 1, "buy", 101, 1, "gtx"), limit(150, 2, "sell", 99, 1, "gtx")]
        ),
        "post-only-rests": tape(BOOK, [limit(150, 1, "buy", 100, 1, "gtx"), limit(150, 2, "sell", 101, 1, "gtx")]),
        "immediate-that-cannot-take-expires": tape(
            BOOK, [limit(150, 1, "buy", 100, 1, "ioc"), limit(150, 2, "sell", 100, 1, "fok")]
        ),
        "immediate-takes-all": tape(
            BOOK, [limit(150, 1, "buy", 101, 50, "ioc"), limit(150, 2, "sell", 99, 50, "fok")]
        ),
        "cancel": tape(BOOK + [trade(500, "sell", 99, 50)], [limit(150, 1, "buy", 99, 1), cancel(300, 1)]),
        "cancel-that-comes-too-late": tape(
            BOOK + [trade(305, "sell", 99, 50)], [limit(150, 1, "buy", 99, 1), cancel(300, 1)]
        ),
        "cancel-before-the-answer-does-not-leave": tape(BOOK, [limit(150, 1, "buy", 99, 1), cancel(160, 1)]),
        "cancel-of-what-was-filled": tape(
            BOOK + [trade(300, "sell", 98, 50)], [limit(150, 1, "buy", 99, 1), cancel(400, 1), cancel(500, 1)]
        ),
        "cancel-in-flight-at-the-end": tape(BOOK, [limit(150, 1, "buy", 99, 1), cancel(300, 1)], end=320),
        "replacement-of-the-price-joins-at-the-end": tape(
            BOOK + [trade(500, "sell", 98, "29.9"), trade(600, "sell", 98, "0.2")],
            [limit(150, 1, "buy", 99, 1), replace(300, 1, 98, 1)],
        ),
        "replacement-by-less-keeps-its-place": tape(
            BOOK + [trade(250, "sell", 99, 9), trade(500, "sell", 99, 2)],
            [limit(150, 1, "buy", 99, 5), replace(300, 1, 99, 2)],
        ),
        "replacement-by-more-joins-at-the-end": tape(
            BOOK + [trade(250, "sell", 99, 9), trade(500, "sell", 99, 2)],
            [limit(150, 1, "buy", 99, 1), replace(300, 1, 99, 2)],
        ),
        "replacement-into-the-touch-takes": tape(BOOK, [limit(150, 1, "buy", 99, 5), replace(300, 1, 101, 5)]),
        "post-only-replacement-into-the-touch-expires": tape(
            BOOK, [limit(150, 1, "buy", 99, 5, "gtx"), replace(300, 1, 101, 5)]
        ),
        "replacement-that-comes-too-late": tape(
            BOOK + [trade(305, "sell", 98, 50)], [limit(150, 1, "buy", 99, 5), replace(300, 1, 97, 5)]
        ),
        "replacement-in-flight-at-the-end": tape(BOOK, [limit(150, 1, "buy", 99, 1), replace(300, 1, 97, 1)], end=305),
        "data-comes-before-an-order-of-its-time": tape(
            BOOK + [level(160, "sell", 100, 5)], [limit(150, 1, "buy", 100, 1)]
        ),
        "answer-one-nanosecond-too-late": tape(BOOK, [limit(150, 1, "buy", 101, 1)], end=179),
        "answer-just-in-time": tape(BOOK, [limit(150, 1, "buy", 101, 1)], end=180),
        "no-latency": tape(BOOK + [trade(150, "sell", 98, 1)], [limit(150, 1, "buy", 99, 1)], latency=(0, 0)),
        "no-latency-cancel-at-once": tape(BOOK, [limit(150, 1, "buy", 99, 1), cancel(150, 1)], latency=(0, 0)),
        "negative-latency-refuses": tape(BOOK, [limit(150, 1, "buy", 99, 1)], latency=(-30, 20)),
        "negative-latency-not-known-yet": tape(BOOK, [limit(150, 1, "buy", 99, 1)], latency=(-30, 20), end=179),
        "empty-book-lets-rest": tape(
            [level(100, "buy", 50, 1)], [limit(150, 1, "buy", 99, 1), limit(150, 2, "sell", 60, 1)]
        ),
        "first-ask-fills": tape(
            [level(100, "buy", 50, 1), level(500, "sell", 99, 1)], [limit(150, 1, "buy", 99, 1), limit(160, 2, "buy", 98, 1)]
        ),
        "crossing-bid-moves-the-ask": tape(
            BOOK + [level(500, "buy", 101, 5)], [limit(600, 1, "buy", 101, 1), limit(600, 2, "buy", 102, 1)]
        ),
        "out-of-date-asks-stay-out-of-date": tape(
            BOOK + [level(500, "buy", 101, 5), level(510, "buy", 101, 0)], [limit(600, 1, "buy", 101, 1)]
        ),
        "bid-that-empties-a-side": tape(
            BOOK + [level(500, "buy", 105, 5), level(550, "buy", 105, 0)],
            [limit(510, 1, "buy", 107, 1), limit(600, 2, "sell", 99, 1)],
        ),
        "half-lots-in-the-market": tape(
            BOOK + [level(200, "buy", 99, "9.995"), trade(500, "sell", 99, "9.995"), trade(600, "sell", 99, "0.005")],
            [limit(150, 1, "buy", 99, 1)],
        ),
        "recorded-latency": tape(
            BOOK + [trade(700, "sell", 99, 11)],
            [limit(t, n, "buy", p, 1) for n, (t, p) in enumerate([(110, 90), (333, 91), (500, 99), (999, 93)], 1)],
            rows=[(200, 231, 270), (400, 407, 499), (600, 613, 650)],
        ),
        "recorded-latency-cut-at-the-end": tape(
            BOOK, [limit(333, 1, "buy", 91, 1)], rows=[(200, 231, 270), (400, 407, 499), (600, 613, 650)], end=430
        ),
        "recorded-refusal": tape(
            BOOK + [trade(2_500, "sell", 98, 11)],
            [limit(150, 1, "buy", 99, 1), limit(1_050, 2, "buy", 98, 1), limit(2_300, 3, "buy", 97, 1)],
            rows=[(100, 110, 120), (1_000, 0, 1_040), (1_100, 1_120, 1_140), (2_000, 2_010, 2_030)],
        ),
        "answers-do-not-overtake": tape(
            BOOK,
            [limit(150, 1, "buy", 91, 1), limit(199, 2, "buy", 92, 1), limit(203, 3, "buy", 93, 1)],
            rows=[(100, 110, 200), (200, 390, 410), (204, 391, 411), (400, 420, 440)],
        ),
    }
    for model in MODELS:
        for name, more in (("short", "-0.0001"), ("at-the-edge", "0"), ("enough", "0.0001")):
            smallest = Decimal(SMALLEST_TRADES[model]) + Decimal(more)
            events = [level(200, "buy", 99, 20), level(300, "buy", 99, 14), trade(400, "sell", 99, smallest)]
            name = f"queue-{model}-{name}"
            tapes[name] = tape(BOOK + events, [limit(150, 1, "buy", 99, 1)], model)
        mirror = [level(200, "sell", 101, 25), trade(250, "buy", 101, 3), level(300, "sell", 101, 14)]
        more = [level(350, "sell", 101, 7), level(360, "sell", 101, 9), trade(400, "buy", 101, 5)]
        tapes[f"queue-{model}-asks"] = tape(BOOK + mirror + more, [limit(150, 1, "sell", 101, 1)], model)
        # Depth first counts the trade twice, here as there.
        twice = [level(300, "buy", 99, 6), trade(300, "sell", 99, 4), trade(400, "sell", 99, "2.5")]
        tapes[f"queue-{model}-depth-before-trade"] = tape(BOOK + twice, [limit(150, 1, "buy", 99, 1)], model)
    return tapes


class Market:
    """A market that wanders, and a client that trades in it, by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.model = MODELS[seed % len(MODELS)]
        chance = self.random
        if self.model.startswith("power") and chance.random() < 0.5:
            self.model = self.model[:-1] + str(chance.choice((1, 2, 4, 5, "1.5", "0.25", "2.5")))
        self.tick = Decimal(chance.choice(("1", "0.5", "0.1", "0.01", "0.0001")))
        self.lot = Decimal(chance.choice(("1", "0.1", "0.01", "0.001", "0.00001")))
        self.grain = self.lot / chance.choice((1, 1, 1, 2, 10))
        """The market trades in these, which may be finer than the lot."""
        self.depth = chance.choice((3, 20, 500))
        """Lots at a level, about."""
        self.mid = chance.randint(200, 20_000)
        self.now = chance.choice((1_000, 1_700_000_000_000_000_000))
        self.step = chance.choice((1, 10, 1_000, 1_000_000))
        self.anchored = chance.random() < 0.8
        """A level far out stays on each side, so that none is ever empty."""
        self.anchors = {self.mid - FAR, self.mid + FAR} if self.anchored else set()
        self.book: dict[tuple[str, int], Decimal] = {}
        self.events: list[Row] = []
        self.orders: list[Row] = []
        self.used: set[int] = set()
        self.quantities: dict[int, Decimal] = {}
        self.prices: dict[int, int] = {}

    def price(self, ticks: int) -> str:
        return text(ticks * self.tick)

    def quantity(self, most: int) -> Decimal:
        units = self.random.randint(1, max(1, int(most * self.lot / self.grain)))
        return max(self.lot, units * self.grain)

    def set(self, side: str, ticks: int, quantity: Decimal, kind: str = "depth") -> None:
        self.book[side, ticks] = quantity
        self.events.append(level(self.now, side, self.price(ticks), text(quantity), kind))

    def touch(self, side: str) -> int:
        """The best price of a side, with the out-of-date levels of a crossed book left out."""
        sign = 1 if side == "buy" else -1
        prices = [p for (s, p), q in self.book.items() if s == side and q > 0 and sign * (self.mid - p) >= 0]
        return sign * max((sign * p for p in prices), default=sign * (self.mid - sign))

    def open(self) -> None:
        """The first snapshot."""
        if self.anchored:
            self.set("buy", self.mid - FAR, self.quantity(self.depth), "snapshot")
            self.set("sell", self.mid + FAR, self.quantity(self.depth), "snapshot")
        for away in range(1, self.random.randint(2, 8)):
            self.set("buy", self.mid - away, self.quantity(self.depth), "snapshot")
            self.set("sell", self.mid + away, self.quantity(self.depth), "snapshot")

    def happen(self) -> None:
        """One thing happens in the market."""
        chance = self.random
        self.now += chance.choice((0, 0, 1, chance.randint(1, 20))) * self.step
        what, side = chance.random(), chance.choice(("buy", "sell"))
        sign = 1 if side == "buy" else -1
        if what < 0.35:
            # A trade at the touch, with the change of the level after it, before it, or never.
            hit = self.touch(side)
            if hit in self.anchors:
                return
            there = self.book.get((side, hit), Decimal(0))
            quantity = min(there, self.quantity(self.depth)) if chance.random() < 0.8 and there else self.quantity(self.depth)
            shown = chance.random()
            left = max(Decimal(0), there - quantity)
            left = Decimal(0) if left < self.lot else left
            if shown < 0.1:
                self.set(side, hit, left)
            aggressor = "sell" if side == "buy" else "buy"
            self.events.append(trade(self.now, aggressor, self.price(hit), text(quantity)))
            if shown > 0.3:
                self.set(side, hit, left)
        elif what < 0.40:
            # A trade through the touch.
            aggressor = "sell" if side == "buy" else "buy"
            beyond = self.touch(side) - sign * chance.randint(1, 3)
            self.events.append(trade(self.now, aggressor, self.price(beyond), text(self.quantity(self.depth))))
        elif what < 0.47:
            # Somebody comes across: the other side is out of date without a word.
            self.mid += sign * chance.randint(1, 3)
            self.set(side, self.mid, self.quantity(self.depth))
        elif what < 0.52:
            self.mid += chance.choice((-1, 1))
        else:
            away = self.mid - sign * chance.randint(0, 6)
            gone = chance.random() < 0.25
            self.set(side, away, Decimal(0) if gone else self.quantity(self.depth))

    def queue(self) -> None:
        """One thing happens at a level near the touch, which stays where it is: a trade of a part of it, somebody
        joins, or somebody leaves."""
        chance = self.random
        self.now += chance.choice((0, 1, chance.randint(1, 20))) * self.step
        side = chance.choice(("buy", "sell"))
        sign = 1 if side == "buy" else -1
        hit = self.mid - sign * (1 if chance.random() < 0.85 else 2)
        there = self.book.get((side, hit), self.lot)
        part = min(self.quantity(max(1, self.depth // 3)), there)
        what = chance.random()
        if what < 0.4:
            aggressor = "sell" if side == "buy" else "buy"
            self.events.append(trade(self.now, aggressor, self.price(hit), text(part)))
            if what < 0.28:
                self.now += chance.choice((0, 0, 1)) * self.step
                self.set(side, hit, max(self.lot, there - part))
        elif what < 0.6:
            self.set(side, hit, there + part)
        elif what < 0.65:
            self.set(side, hit, there)
        else:
            self.set(side, hit, max(self.lot, there - part))

    def join(self) -> None:
        """The client joins a level near the touch, where it may have an order already, or leaves."""
        chance = self.random
        if self.quantities and chance.random() < 0.15:
            self.orders.append(cancel(self.now, chance.choice(list(self.quantities))))
            return
        if self.quantities and chance.random() < 0.15:
            self.replace(chance.choice(list(self.quantities)))
            return
        if len(self.quantities) >= OPEN_AT_ONCE:
            return
        number, side = len(self.orders) + 1, chance.choice(("buy", "sell"))
        ticks = self.mid - (1 if side == "buy" else -1) * chance.choice((1, 1, 1, 2))
        quantity = chance.randint(1, 5) * self.lot
        self.orders.append(limit(self.now, number, side, self.price(ticks), text(quantity), chance.choice(("gtc", "gtx"))))
        self.quantities[number], self.prices[number] = quantity, ticks

    def fresh(self, side: str) -> int | None:
        """A price near the touch at which no order of ours ever was."""
        sign = 1 if side == "buy" else -1
        ticks = self.mid - sign * self.random.randint(-3, 5)
        return None if ticks in self.used else ticks

    def ask(self) -> None:
        """The client does something."""
        chance = self.random
        what, side = chance.random(), chance.choice(("buy", "sell"))
        earlier = chance.choice(list(self.quantities)) if self.quantities else None
        if what < 0.15 and earlier is not None:
            self.orders.append(cancel(self.now, earlier))
            return
        if what < 0.30 and earlier is not None:
            self.replace(earlier)
            return
        number = len(self.orders) + 1
        quantity = chance.randint(1, max(2, self.depth // 3)) * self.lot
        if what < 0.36 and self.anchored:
            self.orders.append(market(self.now, number, side, text(quantity)))
            return
        ticks = self.fresh(side)
        if ticks is None or len(self.used) >= OPEN_AT_ONCE:
            return
        force = chance.choices(("gtc", "gtx", "ioc", "fok"), (6, 3, 1, 1))[0]
        self.orders.append(limit(self.now, number, side, self.price(ticks), text(quantity), force))
        if force in ("gtc", "gtx"):
            self.used.add(ticks)
            self.quantities[number], self.prices[number] = quantity, ticks

    def replace(self, number: int) -> None:
        """Another price for the same quantity, or less at the same price: the reference forgets a new
        quantity when the order joins a level anew."""
        if self.random.random() < 0.5:
            ticks = self.prices[number] + self.random.choice((-2, -1, 1, 2))
            if ticks not in self.used and len(self.used) < OPEN_AT_ONCE and number not in self.reduced():
                self.used.add(ticks)
                self.orders.append(replace(self.now, number, self.price(ticks), text(self.quantities[number])))
                self.prices[number] = ticks
        elif number not in self.moved():
            lots = int(self.quantities[number] / self.lot)
            self.quantities[number] = self.random.randint(1, lots) * self.lot
            price = self.price(self.prices[number])
            self.orders.append(replace(self.now, number, price, text(self.quantities[number])))

    def moved(self) -> set[int]:
        """Orders that were asked to move. Whether the request was refused, late or lost is not known here, so
        that an order does one or the other."""
        return {o["id"] for o in self.orders if o["kind"] == "replace" and not self.is_reduction(o)}

    def reduced(self) -> set[int]:
        """Orders that were asked to shrink."""
        return {o["id"] for o in self.orders if o["kind"] == "replace" and self.is_reduction(o)}

    def is_reduction(self, request: Row) -> bool:
        first = next(o for o in self.orders if o["id"] == request["id"])
        return first["price"] == request["price"]

    def latency(self) -> tuple[tuple[int, int], list[tuple[int, int, int]] | None]:
        """Constant, or recorded rows over the tape's span and a little less or more."""
        chance = self.random
        most = 30 * self.step
        if chance.random() < 0.02:
            return (-chance.randint(1, most), 0), None
        if chance.random() < 0.5:
            return (chance.choice((0, chance.randint(1, most))), chance.choice((0, chance.randint(1, most)))), None
        rows: list[tuple[int, int, int]] = []
        request = self.events[0]["t"] + chance.randint(-most, most)
        taken = 0
        # With times since 1970 the reference ends the process when an answer is due in a refusal's time.
        refusals = chance.choice((0.0, 0.2)) if self.now < 10**12 else 0.0
        while request < self.now and len(rows) < 200 or not rows:
            taken = max(taken + 1, request + chance.randint(0, most))
            rows.append((request, taken, taken + chance.randint(0, most)))
            request += chance.randint(1, 3 * most)
        # The first and the last row stand for all time before and after: a refusal there would go on forever.
        for place in range(1, len(rows) - 1):
            if chance.random() < refusals:
                rows[place] = (rows[place][0], 0, rows[place][2])
        return (0, 0), rows


def at_random(seed: int) -> Tape:
    """The tape of a seed: a market that wanders, or, of every other seed, one that stands and trades."""
    world = Market(seed)
    chance = world.random
    world.open()
    happen, ask = (world.queue, world.join) if seed % 2 else (world.happen, world.ask)
    for _ in range(chance.randint(10, 80)):
        happen()
        if chance.random() < 0.25:
            world.now += chance.choice((0, 0, 1, chance.randint(1, 9))) * world.step
            ask()
    latency, rows = world.latency()
    end = world.now + chance.choice((0, 1, chance.randint(0, 60), 200)) * world.step
    return tape(world.events, world.orders, world.model, latency, str(world.tick), str(world.lot), end, rows)


CAPTURES = {
    "spot_btcusdt": (("spot_btcusdt_20240808.jsonl.gz", "spot_btcusdt_20240809.jsonl.gz"), "0.01", "0.00001"),
    "usdm_btcusdt": (("usdm_btcusdt_20240808.jsonl.gz",), "0.1", "0.001"),
}
"""Recorded streams by name: the files in order, tick and lot."""


def recorded_rows(files: list[Path]) -> Iterator[Row]:
    """The book and the trades of recorded Binance streams, from the snapshot on."""
    last: int | None = None
    for file in files:
        with gzip.open(file, "rt") as lines:
            for line in lines:
                stamp, _, frame = line.partition(" ")
                t, message = int(stamp), json.loads(frame)
                stream, data = message.get("stream", ""), message.get("data", message)
                if "lastUpdateId" in data:
                    last = data["lastUpdateId"]
                    for side, rows in (("buy", data["bids"]), ("sell", data["asks"])):
                        yield from (level(t, side, price, quantity, "snapshot") for price, quantity in rows)
                elif last is None or "@bookTicker" in stream:
                    continue
                elif "@depth" in stream and data["u"] > last:
                    for side, rows in (("buy", data["b"]), ("sell", data["a"])):
                        yield from (level(t, side, price, quantity) for price, quantity in rows)
                elif "@trade" in stream:
                    yield trade(t, "sell" if data["m"] else "buy", data["p"], data["q"])


def recorded(folder: Path, name: str, seed: int = 1) -> Tape:
    """A recorded stream with orders every half second around the touch, by a seed."""
    names, tick, lot = CAPTURES[name]
    events = []
    for event in recorded_rows([folder / file for file in names]):
        event["price"] = text(Decimal(event["price"]))
        event["quantity"] = text(Decimal(event["quantity"]))
        # Some futures trades carry no price; they belong to no market.
        if event["kind"] != "trade" or float(event["price"]) > 0:
            events.append(event)
    orders = list(recorded_orders(events, Decimal(tick), Decimal(lot), random.Random(seed)))
    second = 10**9
    rows, request = [], events[0]["t"] - second
    chance = random.Random(seed + 1)
    while request < events[-1]["t"]:
        taken = request + chance.randint(1, 40) * 1_000_000
        rows.append((request, taken, taken + chance.randint(1, 40) * 1_000_000))
        request += second
    return tape(events, orders, "log2", (0, 0), tick, lot, events[-1]["t"] + second, rows)


def recorded_orders(events: list[Row], tick: Decimal, lot: Decimal, chance: random.Random) -> Iterator[Row]:
    """Orders every half second, buys and sells around the last trades; each is canceled within seven
    seconds, so that few are open at once."""
    second = 10**9
    used: set[Decimal] = set()
    last: Decimal | None = None
    due, number = events[0]["t"] + second, 0
    pending: list[tuple[int, Row]] = []
    for event in events:
        while event["t"] > due and last is not None:
            number += 1
            side = chance.choice(("buy", "sell"))
            sign = 1 if side == "buy" else -1
            spread = chance.choice((2, 20, 300))
            price = last - sign * chance.randint(-spread // 2, spread) * tick
            yield from (row for at, row in sorted(pending, key=lambda p: p[0]) if at <= due)
            pending = [(at, row) for at, row in pending if at > due]
            if price not in used:
                used.add(price)
                quantity = chance.choice((1, 7, 100, 2_500)) * lot
                force = chance.choice(("gtc", "gtx"))
                yield limit(due, number, side, text(price), text(quantity), force)
                life = chance.randint(1, 6 * 8) * second // 8
                pending.append((due + life, cancel(due + life, number)))
            due += second // 2
        if event["kind"] == "trade":
            last = Decimal(event["price"])
