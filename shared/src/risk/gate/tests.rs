//! Each cap and condition denies, is named by its code, and shows in the table.

use alloc::vec::Vec;

use super::*;
use crate::instrument::Venue;
use crate::risk::table::exit_code;
use crate::time::{DAYS, MINUTES};

/// Monday, 2026-10-05, noon.
pub(super) const NOON: Time = Time(20_731 * DAYS + DAYS / 2);
pub(super) const BTC: InstrumentId = InstrumentId(0);
pub(super) const ETH: InstrumentId = InstrumentId(1);
pub(super) const DOGE: InstrumentId = InstrumentId(2);
pub(super) const PERP: InstrumentId = InstrumentId(3);
pub(super) const OTHER: InstrumentId = InstrumentId(4);
pub(super) const USD: i64 = Cash::ONE.0;

/// Prices and quantities with four decimals each, so that a value is their plain product.
pub(super) fn instruments() -> Vec<Instrument> {
    let of = |venue, base: &str, kind| Instrument {
        base: heapless::String::try_from(base).expect("short"),
        price_scale: 4,
        qty_scale: 4,
        lot: 1,
        kind,
        ..Instrument::unknown(venue, base).expect("short")
    };
    alloc::vec![
        of(Venue::Binance, "BTC", Kind::Spot),
        of(Venue::Binance, "ETH", Kind::Spot),
        of(Venue::Kraken, "DOGE", Kind::Spot),
        of(Venue::BinanceUsdm, "BTC", Kind::Perpetual),
        of(Venue::Kraken, "XYZ", Kind::Spot),
    ]
}

/// An account of 10,000 with every instrument at 100.
pub(super) struct World {
    pub(super) gate: Gate,
    pub(super) held: Vec<Held>,
    pub(super) equity: Cash,
    pub(super) cash: Cash,
    pub(super) at: Time,
    pub(super) touch: Option<(Price, Price)>,
    pub(super) in_flight: bool,
}

pub(super) const BID: Price = Price(1_000_000);
pub(super) const ASK: Price = Price(1_000_000);

impl World {
    pub(super) fn new(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits {
            // One order is 20 % of equity.
            base_size_bps: 2_000,
            factor_high_ppm: PPM,
            correlation_cut_ppm: 0,
            ..Limits::shipped()
        };
        change(&mut limits);
        let equity = Cash(10_000 * USD);
        let held = Held {
            bid: BID,
            ask: ASK,
            ..Held::default()
        };
        let mut world = Self {
            gate: Gate::new(limits, &instruments(), equity),
            held: alloc::vec![held; 5],
            equity,
            cash: equity,
            at: NOON,
            touch: Some((BID, ASK)),
            in_flight: false,
        };
        world.see(BTC, |_| {});
        for id in [ETH, DOGE, PERP, OTHER] {
            world.see(id, |_| {});
        }
        for act in world.pulse() {
            let Act::Mark(mark) = act else {
                panic!("{act:?} at the start")
            };
            world.gate.marked(&mark);
        }
        world
    }

    pub(super) fn plain() -> Self {
        let world = Self::new(|_| {});
        assert_eq!(world.gate.limits().check(&instruments()), Ok(()));
        world
    }

    pub(super) fn see(&mut self, id: InstrumentId, change: impl FnOnce(&mut Observation)) {
        let mut seen = Observation {
            at: self.at,
            bid: BID,
            ask: ASK,
            bid_depth: Cash(5_000 * USD),
            ask_depth: Cash(5_000 * USD),
            updated: self.at,
            lag_ns: 0,
        };
        change(&mut seen);
        self.gate.observe(id, &seen);
    }

    pub(super) fn account(&self) -> Account<'_> {
        Account {
            at: self.at,
            equity: self.equity,
            cash: self.cash,
            held: &self.held,
        }
    }

    pub(super) fn pulse(&mut self) -> Vec<Act> {
        let account = Account {
            at: self.at,
            equity: self.equity,
            cash: self.cash,
            held: &self.held,
        };
        self.gate.pulse(&account)
    }

    /// Holds so many units (of 100 each), bought or sold at the present price.
    pub(super) fn hold(&mut self, id: InstrumentId, units: i64) {
        let held = &mut self.held[id.index()];
        let before = held.qty.0;
        held.qty = Qty(units * 10_000);
        held.cost = Cash(units * 100 * USD);
        self.cash = self.cash - Cash((held.qty.0 - before) * ASK.0);
    }

    pub(super) fn judge(&mut self, id: InstrumentId, action: Action) -> Result<Approved, Denial> {
        let situation = Situation {
            instrument: id,
            touch: self.touch,
            in_flight: self.in_flight,
            account: Account {
                at: self.at,
                equity: self.equity,
                cash: self.cash,
                held: &self.held,
            },
        };
        self.gate.judge(&action, &situation)
    }

    pub(super) fn buy(&mut self, id: InstrumentId) -> Result<i64, Denial> {
        self.judge(id, act(Choice::Buy)).map(|order| order.qty.0)
    }

    pub(super) fn row(&self, code: &str) -> Row {
        let rows = self.gate.table(&self.account());
        assert!(rows.len() <= crate::risk::table::MAX_ROWS);
        let mut rows: Vec<Row> = rows.into_iter().filter(|row| row.code == code).collect();
        rows.sort_by_key(|row| row.headroom);
        *rows.first().unwrap_or_else(|| panic!("no row {code}"))
    }

    pub(super) fn tripped(&self, denial: Denial, name: &str) {
        let row = self.row(denial.code());
        assert_eq!(
            (row.name, row.standing),
            (name, Standing::Tripped),
            "{row:?}"
        );
        assert!(name == "sectors" || crate::risk::limits::key(name).is_some());
    }

    /// The only restriction that this pulse asks for; it comes back durable.
    pub(super) fn restrict(&mut self) -> (Restriction, Vec<Act>) {
        let mut asked = self.pulse();
        asked.retain(|act| matches!(act, Act::Restrict(_)));
        let [Act::Restrict(restriction)] = asked[..] else {
            panic!("{asked:?}")
        };
        let before = self.gate.clone();
        assert!(
            self.pulse()
                .iter()
                .all(|act| !matches!(act, Act::Restrict(_))),
            "asked once"
        );
        assert_eq!(
            before.restrictions, self.gate.restrictions,
            "not in force yet"
        );
        self.gate.recover();
        assert!(
            self.pulse().contains(&Act::Restrict(restriction)),
            "asked again after a start"
        );
        let acts = self.gate.restricted(&restriction);
        assert_eq!(self.gate.states(), [restriction]);
        (restriction, acts)
    }
}

pub(super) const PPM: i64 = crate::action::PPM;

pub(super) fn act(choice: Choice) -> Action {
    let probabilities = match choice {
        Choice::Sell => [800_000, 100_000, 100_000],
        Choice::Hold => [100_000, 800_000, 100_000],
        Choice::Buy => [100_000, 100_000, 800_000],
    };
    Action {
        choice,
        probabilities,
        size: 1_000_000,
        risk: 0,
        value: 0,
    }
}

#[test]
fn codes_differ_and_stay() {
    let mut codes: Vec<&str> = Denial::ALL.map(Denial::code).to_vec();
    codes.extend(
        [Reason::StopLoss, Reason::TakeProfit, Reason::TrailingStop]
            .map(|reason| exit_code(reason).expect("the gate's own")),
    );
    codes.extend([Cause::Command.code(), Cause::KillSwitch.code()]);
    let numbers: Vec<&str> = codes.iter().map(|code| &code[..3]).collect();
    for (place, number) in numbers.iter().enumerate() {
        assert!(!numbers[..place].contains(number), "{number}");
    }
    // Those of the first release.
    assert_eq!(
        Denial::ALL[..10]
            .iter()
            .map(|denial| denial.code())
            .collect::<Vec<_>>(),
        [
            "R00-hold",
            "R01-stale-book",
            "R02-halted",
            "R03-in-flight",
            "R04-unsure",
            "R05-at-target",
            "R06-too-small",
            "R07-wide-spread",
            "R08-exposure",
            "R09-forbidden",
        ]
    );
    for cause in Cause::ALL {
        let denial = super::super::denial::denial_of(cause);
        let own = matches!(cause, Cause::Command | Cause::KillSwitch);
        assert!(own || denial.code() == cause.code());
    }
}

#[test]
fn an_action_becomes_an_order_for_its_target() {
    let mut world = World::plain();
    let approved = world
        .judge(BTC, act(Choice::Buy))
        .expect("nothing is against it");
    // 20 % of 10,000 at 100.
    assert_eq!((approved.side, approved.qty), (Side::Buy, Qty(200_000)));
    let sizing = approved.sizing.expect("it adds");
    assert_eq!((sizing.target, sizing.confidence), (Cash(2_000 * USD), PPM));
    world.hold(BTC, 19);
    assert_eq!(
        world.buy(BTC),
        Err(Denial::AtTarget),
        "within the dead band"
    );
    world.hold(BTC, 10);
    assert_eq!(world.buy(BTC), Ok(100_000));
    world.held[0].buying = Qty(100_000);
    assert_eq!(world.buy(BTC), Err(Denial::AtTarget), "ordered already");
    let sold = world.judge(BTC, act(Choice::Sell)).expect("it closes");
    assert_eq!(
        (sold.qty, sold.reduces, sold.sizing),
        (Qty(100_000), true, None)
    );
    world.held[0].selling = Qty(40_000);
    assert_eq!(
        world.judge(BTC, act(Choice::Sell)).map(|a| a.qty),
        Ok(Qty(60_000))
    );
}

#[test]
fn what_is_no_wish_gives_no_order() {
    let mut world = World::plain();
    assert_eq!(world.judge(BTC, Action::HOLD), Err(Denial::Hold));
    assert_eq!(world.judge(BTC, act(Choice::Sell)), Err(Denial::Forbidden));
    let unsure = Action {
        probabilities: [300_000, 200_001, 499_999],
        ..act(Choice::Buy)
    };
    assert_eq!(world.judge(BTC, unsure), Err(Denial::Unsure));
    let idle = Action {
        size: 0,
        ..act(Choice::Buy)
    };
    assert_eq!(world.judge(BTC, idle), Err(Denial::AtTarget));
    world.in_flight = true;
    assert_eq!(world.buy(BTC), Err(Denial::InFlight));
    world.in_flight = false;
    world.touch = None;
    assert_eq!(world.buy(BTC), Err(Denial::StaleBook));
    assert_eq!(
        world.gate.violations(world.at),
        0,
        "none of these is a violation"
    );

    let mut world = World::new(|limits| limits.min_order = Cash(2_001 * USD));
    assert_eq!(world.buy(BTC), Err(Denial::TooSmall));
    let mut world = World::new(|limits| limits.method = crate::risk::limits::Method::KellyRecord);
    (0..30).for_each(|_| world.gate.closed(Cash(1)));
    (0..40).for_each(|_| world.gate.closed(Cash(-9)));
    world.gate.closed(Cash(1));
    assert_eq!(world.buy(BTC), Err(Denial::NoEdge));
}

#[test]
fn what_settles_in_its_base_is_not_traded() {
    let mut world = World::new(|_| {});
    let mut table = instruments();
    table[PERP.index()].kind = Kind::Inverse;
    world.gate = Gate::new(Limits::shipped(), &table, world.equity);
    world.see(PERP, |_| {});
    for choice in [Choice::Buy, Choice::Sell] {
        assert_eq!(world.judge(PERP, act(choice)), Err(Denial::Forbidden));
    }
}

#[test]
fn every_cap_cuts_then_denies() {
    // Each: what is held beforehand, what remains for BTC, and the code once that is held too.
    let rich = |limits: &mut Limits| limits.base_size_bps = limits.position_cap_bps;
    let check = |tune: &dyn Fn(&mut Limits),
                 hold: &[(InstrumentId, i64)],
                 left: i64,
                 denial: Denial,
                 name: &str| {
        let mut world = World::new(|limits| {
            rich(limits);
            tune(limits);
        });
        hold.iter().for_each(|&(id, units)| world.hold(id, units));
        assert_eq!(world.buy(BTC), Ok(left), "{denial:?} cuts");
        let (id, units) = *hold.last().expect("something");
        world.hold(id, units + left / 10_000);
        assert_eq!(world.buy(BTC), Err(denial));
        assert_eq!(
            world.gate.violations(world.at),
            0,
            "at the cap is within it"
        );
        world.hold(id, units + left / 10_000 + 10);
        assert_eq!(world.buy(BTC), Err(denial));
        assert_eq!(world.buy(BTC), Err(denial));
        assert_eq!(world.gate.violations(world.at), 1, "{denial:?} once");
        let (_, what, subject) = world.gate.recent_violations(world.at).next().expect("one");
        let row = world.gate.table(&world.account());
        let same = |row: &&Row| row.code == denial.code() && row.subject == subject;
        assert_eq!(what, denial);
        assert!(row.iter().any(|row| same(&row)), "{subject:?} has a row");
        world.tripped(denial, name);
    };
    let wide = |limits: &mut Limits| {
        limits.heat_cap_bps = 10_000;
        limits.correlated_cap_bps = 10_000;
        limits.cash_reserve_bps = 0;
        limits.gross_cap_bps = 10_000;
        limits.exposure_cap_bps = 10_000;
    };
    check(
        &|l| {
            wide(l);
            l.sectors.caps[0].cap_bps = 3_000;
        },
        &[(PERP, 20)],
        100_000,
        Denial::SectorCap,
        "sectors",
    );
    check(
        &|l| {
            wide(l);
            l.correlated_cap_bps = 3_000;
        },
        &[(PERP, 20)],
        100_000,
        Denial::CorrelatedCap,
        "correlated_cap_bps",
    );
    check(
        &|l| {
            wide(l);
            l.gross_cap_bps = 5_000;
        },
        &[(ETH, 35)],
        150_000,
        Denial::GrossCap,
        "gross_cap_bps",
    );
    check(
        &|l| {
            wide(l);
            l.exposure_cap_bps = 5_000;
        },
        &[(ETH, 35)],
        150_000,
        Denial::Exposure,
        "exposure_cap_bps",
    );
    check(
        &|l| {
            wide(l);
            l.cash_reserve_bps = 5_000;
        },
        &[(ETH, 35)],
        150_000,
        Denial::CashReserve,
        "cash_reserve_bps",
    );
    // Heat 2 %: stops of 5 % allow 40 % to be held.
    check(
        &|l| {
            wide(l);
            l.heat_cap_bps = 200;
        },
        &[(ETH, 25)],
        150_000,
        Denial::Heat,
        "heat_cap_bps",
    );
}

#[test]
fn the_cap_of_a_position_bounds_every_way_to_it() {
    let mut world = World::plain();
    let admit = |world: &mut World, qty| {
        let situation = Situation {
            instrument: BTC,
            touch: world.touch,
            in_flight: false,
            account: Account {
                at: world.at,
                equity: world.equity,
                cash: world.cash,
                held: &world.held,
            },
        };
        world
            .gate
            .admit(Side::Buy, Qty(qty), ASK, &situation)
            .map(|a| a.qty.0)
    };
    assert_eq!(
        admit(&mut world, 900_000),
        Ok(250_000),
        "25 % of 10,000 at 100"
    );
    world.held[0].buying = Qty(250_000);
    assert_eq!(admit(&mut world, 10_000), Err(Denial::PositionCap));
    world.held[0].buying = Qty(0);
    world.hold(BTC, 27);
    assert_eq!(admit(&mut world, 10_000), Err(Denial::PositionCap));
    assert_eq!(world.gate.violations(world.at), 1);
    world.tripped(Denial::PositionCap, "position_cap_bps");
    let row = world.row("R11-position-cap");
    assert_eq!((row.value, row.limit, row.headroom), (2_700, 2_500, -200));
    assert_eq!(row.subject, Subject::Scope(Scope::Instrument(BTC)));
}

#[test]
fn without_a_price_or_money_nothing_is_added() {
    let mut world = World::plain();
    world.held[1] = Held {
        qty: Qty(1),
        ..Held::default()
    };
    assert_eq!(world.buy(BTC), Err(Denial::Unpriced));
    assert_eq!(world.row("R35-unpriced").standing, Standing::Tripped);
    world.held[1] = world.held[2];
    world.cash = Cash(1_005 * USD);
    assert_eq!(world.buy(BTC), Err(Denial::CashReserve), "10 % stays");
    world.cash = Cash(3_500 * USD);
    world.held[1].buying = Qty(200_000);
    assert_eq!(
        world.buy(BTC),
        Ok(50_000),
        "2,000 are on order and 1,000 stay"
    );
    (world.cash, world.equity) = (Cash(-5), Cash(-5));
    assert!(world.buy(BTC).is_err());
}

#[test]
fn market_conditions_stop_new_risk() {
    let mut world = World::plain();
    world.touch = Some((Price(994_900), Price(1_005_000)));
    world.see(ETH, |seen| seen.bid = Price(980_000));
    assert_eq!(world.buy(BTC), Err(Denial::WideSpread));
    world.tripped(Denial::WideSpread, "max_spread_bps");

    let mut world = World::plain();
    world.see(BTC, |seen| seen.ask_depth = Cash(1_000 * USD - 1));
    assert_eq!(world.buy(BTC), Err(Denial::ThinBook));
    world.tripped(Denial::ThinBook, "min_depth");
    world.see(BTC, |seen| seen.ask_depth = Cash(1_000 * USD));
    let row = world.row("R17-thin-book");
    assert_eq!((row.value, row.headroom, row.floor), (row.limit, 0, true));
    assert_ne!(row.standing, Standing::Tripped, "at the least is enough");
    assert!(!world.row("R07-wide-spread").floor);

    let mut world = World::plain();
    world.see(BTC, |seen| seen.updated = Time(seen.at.0 - 31 * SECONDS));
    assert_eq!(world.buy(BTC), Err(Denial::StaleFeed));
    world.tripped(Denial::StaleFeed, "stale_s");

    let mut world = World::plain();
    world.see(BTC, |seen| seen.lag_ns = 5 * SECOND);
    assert_eq!(world.buy(BTC), Err(Denial::Latency));
    world.tripped(Denial::Latency, "latency_ms");
    let lag = world.row("R29-latency");
    assert_eq!(
        lag.subject,
        Subject::Scope(Scope::Instrument(BTC)),
        "not of its venue"
    );

    let mut world = World::plain();
    world
        .gate
        .funding(PERP, -10_000_000_000, world.at.plus(DAYS));
    world.gate.funding(BTC, 1_000_000_000_000, world.at);
    assert_eq!(world.buy(PERP), Err(Denial::FundingRate));
    assert_eq!(world.buy(BTC), Ok(200_000), "spot pays no funding");
    world.tripped(Denial::FundingRate, "funding_block_bps");
    world
        .gate
        .funding(PERP, 5_000_000_000, world.at.plus(10 * MINUTES));
    assert_eq!(world.row("R18-funding-rate").standing, Standing::Warning);
    assert_eq!(world.buy(PERP), Err(Denial::FundingWindow));
    world.tripped(Denial::FundingWindow, "funding_window_s");
    world
        .gate
        .funding(PERP, 5_000_000_000, world.at.plus(10 * MINUTES + 1));
    assert_eq!(world.buy(PERP), Ok(200_000), "a warning only");
    assert_eq!(
        world.gate.violations(world.at),
        0,
        "a market's state is no violation"
    );
}
