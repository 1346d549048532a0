//! What a dialect calls while it reads one frame.
//!
//! The reader knows the instruments of a connection, turns wire text into exact numbers, asks each
//! instrument's [`Sync`] what to do with a diff, and queues the resulting [`Update`]s. A dialect
//! therefore says only what a frame *means*; it never keeps a book, a number or a queue of its own.

use tickerml_shared::event::{
    Body, Candle, Checksum, Depth, DepthKind, Funding, Gap, GapReason, LEVELS_PER_PART, Level,
    Side, Touch, Trade, Update,
};
use tickerml_shared::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS, Venue};
use tickerml_shared::num::NumError;
use tickerml_shared::time::Time;

use super::Updates;
use super::sync::{Ids, Rule, Sync, Verdict};

/// A price level as the wire prints it.
pub type WireLevel<'a> = (&'a str, &'a str);

/// Why a frame could not be read. The connection lives on; the books that it may have concerned
/// become stale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong, for the log.
    pub cause: String,
}

impl Unreadable {
    /// From any description.
    pub fn new(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
        }
    }
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error)
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.cause)
    }
}

/// One instrument of the connection.
#[derive(Debug)]
pub struct Listing {
    /// Its id in the engine's table.
    pub id: InstrumentId,
    /// What it is.
    pub instrument: Instrument,
    /// The continuity of its book.
    pub sync: Sync,
    /// When a frame about its book last came.
    pub last_depth: Time,
}

/// The instruments of a connection and what was read about them.
#[derive(Debug)]
pub struct Reader {
    venue: Venue,
    rule: Rule,
    /// Makes up a listing for a symbol it has never seen (replay of captures).
    discover: bool,
    listings: Vec<Listing>,
    updates: Updates,
    /// Places of listings whose book needs a snapshot, each at most once.
    wanted: Vec<usize>,
    received: Time,
}

impl Reader {
    /// A reader for a connection of `venue` that carries these instruments.
    #[must_use]
    pub fn new(venue: Venue, rule: Rule, instruments: Vec<(InstrumentId, Instrument)>) -> Self {
        let mut reader = Self {
            venue,
            rule,
            discover: false,
            listings: Vec::new(),
            updates: Updates::new(),
            wanted: Vec::new(),
            received: Time::UNKNOWN,
        };
        for (id, instrument) in instruments {
            reader.list(id, instrument);
        }
        reader
    }

    /// Lists every symbol that a frame names, numbered in order of appearance.
    pub const fn discover(&mut self) {
        self.discover = true;
    }

    fn list(&mut self, id: InstrumentId, instrument: Instrument) -> usize {
        let sync = Sync::new(self.rule);
        self.listings.push(Listing {
            id,
            instrument,
            sync,
            last_depth: Time::UNKNOWN,
        });
        self.listings.len() - 1
    }

    /// Its venue.
    #[must_use]
    pub const fn venue(&self) -> Venue {
        self.venue
    }

    /// Its instruments.
    #[must_use]
    pub fn listings(&self) -> &[Listing] {
        &self.listings
    }

    /// Stamps what follows with a frame's time of arrival.
    pub const fn received(&mut self, at: Time) {
        self.received = at;
    }

    /// The oldest update not yet taken.
    pub fn poll(&mut self) -> Option<Update> {
        self.updates.pop_front()
    }

    /// The place of a listing whose book needs a snapshot; each is told once per loss.
    pub fn poll_wanted(&mut self) -> Option<usize> {
        self.wanted.pop()
    }

    /// The place of a symbol; `None` when the connection does not carry it, or when it is the
    /// [`MAX_INSTRUMENTS`]th that a capture names.
    pub fn find(&mut self, symbol: &str) -> Option<usize> {
        let found = self
            .listings
            .iter()
            .position(|listing| listing.instrument.symbol == symbol);
        if found.is_some() || !self.discover || self.listings.len() >= MAX_INSTRUMENTS {
            return found;
        }
        let id = InstrumentId(u16::try_from(self.listings.len()).ok()?);
        let instrument = Instrument::unknown(self.venue, symbol).ok()?;
        Some(self.list(id, instrument))
    }

    /// Whose a nameless snapshot in a capture must be: the book's that waits for one and was heard
    /// last, or the only listing's.
    #[must_use]
    pub fn nameless(&self) -> Option<usize> {
        let waiting = self
            .listings
            .iter()
            .enumerate()
            .filter(|(_, l)| l.sync.is_waiting());
        match waiting.max_by_key(|(_, listing)| listing.last_depth) {
            Some((place, _)) => Some(place),
            None if self.listings.len() == 1 => Some(0),
            None => None,
        }
    }

    /// A diff of a book. `checksum` is the venue's, where it has one.
    ///
    /// # Errors
    /// [`Unreadable`] when a number cannot be held exactly; nothing of the message is kept.
    pub fn delta<'a>(
        &mut self,
        place: usize,
        ids: Ids,
        venue_time: Time,
        checksum: Option<Checksum>,
        bids: impl Iterator<Item = WireLevel<'a>>,
        asks: impl Iterator<Item = WireLevel<'a>>,
    ) -> Result<(), Unreadable> {
        let received = self.received;
        let listing = &mut self.listings[place];
        listing.last_depth = received;
        let verdict = listing.sync.judge(ids);
        let message = Message {
            kind: DepthKind::Delta,
            id: ids.last,
            venue_time,
            received,
            checksum,
        };
        match verdict {
            Verdict::Drop => Ok(()),
            Verdict::Apply => message.write(listing, bids, asks, &mut self.updates),
            Verdict::Keep => {
                let mut updates = Updates::new();
                message.write(listing, bids, asks, &mut updates)?;
                listing.sync.keep(ids, updates);
                Ok(())
            }
            Verdict::Gap(gap) => {
                let mut updates = Updates::new();
                message.write(listing, bids, asks, &mut updates)?;
                self.lose(place, gap);
                // It may be the first diff that the next snapshot must be joined to.
                let listing = &mut self.listings[place];
                if listing.sync.judge(ids) == Verdict::Keep {
                    listing.sync.keep(ids, updates);
                }
                Ok(())
            }
        }
    }

    /// A snapshot of a book, followed by the diffs kept for it. `kind` must be a snapshot.
    ///
    /// # Errors
    /// [`Unreadable`] when a number cannot be held exactly.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one message, each of its own type"
    )]
    pub fn snapshot<'a>(
        &mut self,
        place: usize,
        kind: DepthKind,
        id: u64,
        venue_time: Time,
        checksum: Option<Checksum>,
        bids: impl Iterator<Item = WireLevel<'a>>,
        asks: impl Iterator<Item = WireLevel<'a>>,
    ) -> Result<(), Unreadable> {
        let received = self.received;
        let listing = &mut self.listings[place];
        listing.last_depth = received;
        let before = self.updates.len();
        Message {
            kind,
            id,
            venue_time,
            received,
            checksum,
        }
        .write(listing, bids, asks, &mut self.updates)?;
        if let Err(gap) = listing.sync.snapshot(id, &mut self.updates) {
            // The machine waits again. What it still keeps may join a newer snapshot, so it is not
            // reset here.
            self.updates.truncate(before);
            self.push(place, Time::UNKNOWN, Body::Gap(gap));
            self.want(place);
        }
        Ok(())
    }

    /// A trade that has just happened. Replayed history must not be reported.
    ///
    /// # Errors
    /// [`Unreadable`] when a number cannot be held exactly.
    pub fn trade(
        &mut self,
        place: usize,
        venue_time: Time,
        id: u64,
        level: WireLevel<'_>,
        aggressor: Side,
    ) -> Result<(), Unreadable> {
        let Level { price, qty } = number(&self.listings[place].instrument, level)?;
        self.push(
            place,
            venue_time,
            Body::Trade(Trade {
                id,
                price,
                qty,
                aggressor,
            }),
        );
        Ok(())
    }

    /// A best-bid/ask frame; `id` is of the same series as the depth's.
    ///
    /// # Errors
    /// [`Unreadable`] when a number cannot be held exactly.
    pub fn touch(
        &mut self,
        place: usize,
        venue_time: Time,
        id: u64,
        bid: WireLevel<'_>,
        ask: WireLevel<'_>,
    ) -> Result<(), Unreadable> {
        let instrument = &self.listings[place].instrument;
        let touch = Touch {
            id,
            bid: number(instrument, bid)?,
            ask: number(instrument, ask)?,
        };
        self.push(place, venue_time, Body::Touch(touch));
        Ok(())
    }

    /// A perpetual's mark price and funding.
    pub fn funding(&mut self, place: usize, venue_time: Time, funding: Funding) {
        self.push(place, venue_time, Body::Funding(funding));
    }

    /// A bar of the venue's own history.
    pub fn candle(&mut self, place: usize, candle: Candle) {
        self.push(place, Time::UNKNOWN, Body::Candle(candle));
    }

    fn push(&mut self, place: usize, venue_time: Time, body: Body) {
        let (instrument, received) = (self.listings[place].id, self.received);
        self.updates.push_back(Update {
            instrument,
            venue_time,
            received,
            late: false,
            body,
        });
    }

    /// One book lost continuity: says so and asks for a snapshot.
    pub fn lose(&mut self, place: usize, gap: Gap) {
        self.push(place, Time::UNKNOWN, Body::Gap(gap));
        self.await_snapshot(place);
    }

    /// Every book of the connection lost continuity.
    pub fn lose_all(&mut self, gap: Gap) {
        for place in 0..self.listings.len() {
            self.lose(place, gap);
        }
    }

    /// The engine found the book wrong (it has already said so): asks for a snapshot.
    pub fn await_snapshot(&mut self, place: usize) {
        self.listings[place].sync.reset();
        self.want(place);
    }

    fn want(&mut self, place: usize) {
        if !self.wanted.contains(&place) {
            self.wanted.push(place);
        }
    }

    /// How many updates wait to be taken.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.updates.len()
    }

    /// Forgets the updates not yet taken, because nobody took them in time. Whoever calls this
    /// owes every book a gap.
    pub fn drop_pending(&mut self) {
        self.updates.clear();
    }

    /// The places of the listings whose symbols stand somewhere in a frame, in whatever case.
    #[must_use]
    pub fn named(&self, frame: &str) -> Vec<usize> {
        let text = frame.to_ascii_uppercase();
        let named = |listing: &Listing| text.contains(listing.instrument.symbol.as_str());
        (0..self.listings.len())
            .filter(|place| named(&self.listings[*place]))
            .collect()
    }

    /// A frame could not be read: the book whose symbol it names is lost, or all of them when it
    /// names none or several.
    pub fn unreadable(&mut self, frame: &str) {
        let gap = Gap::of(GapReason::Unparsable);
        match self.named(frame)[..] {
            [place] => self.lose(place, gap),
            _ => self.lose_all(gap),
        }
    }
}

/// A depth message about to be cut into parts.
struct Message {
    kind: DepthKind,
    id: u64,
    venue_time: Time,
    received: Time,
    checksum: Option<Checksum>,
}

impl Message {
    /// Appends the message's parts; on an unreadable number nothing stays appended.
    fn write<'a>(
        &self,
        listing: &Listing,
        bids: impl Iterator<Item = WireLevel<'a>>,
        asks: impl Iterator<Item = WireLevel<'a>>,
        out: &mut Updates,
    ) -> Result<(), Unreadable> {
        let before = out.len();
        let written = self.parts(listing, bids, asks, out);
        if written.is_err() {
            out.truncate(before);
        }
        written
    }

    fn parts<'a>(
        &self,
        listing: &Listing,
        bids: impl Iterator<Item = WireLevel<'a>>,
        asks: impl Iterator<Item = WireLevel<'a>>,
        out: &mut Updates,
    ) -> Result<(), Unreadable> {
        let mut part = self.part(true);
        for (is_bid, level) in bids
            .map(|level| (true, level))
            .chain(asks.map(|level| (false, level)))
        {
            if part.levels.len() == LEVELS_PER_PART {
                out.push_back(self.update(listing, part));
                part = self.part(false);
            }
            part.bids += u8::from(is_bid);
            let pushed = part.levels.push(number(&listing.instrument, level)?);
            debug_assert!(pushed.is_ok(), "a full part was sent");
        }
        part.last = true;
        part.checksum = self.checksum;
        out.push_back(self.update(listing, part));
        Ok(())
    }

    const fn part(&self, first: bool) -> Depth {
        let levels = heapless::Vec::new();
        Depth {
            kind: self.kind,
            first,
            last: false,
            id: self.id,
            bids: 0,
            levels,
            checksum: None,
        }
    }

    const fn update(&self, listing: &Listing, depth: Depth) -> Update {
        Update {
            instrument: listing.id,
            venue_time: self.venue_time,
            received: self.received,
            late: false,
            body: Body::Depth(depth),
        }
    }
}

fn number(instrument: &Instrument, (price, qty): WireLevel<'_>) -> Result<Level, Unreadable> {
    let name = |text: &str, error: NumError| {
        Unreadable::new(format_args!("{}: {text:?} {error}", instrument.symbol))
    };
    let level = Level {
        price: instrument
            .price(price)
            .map_err(|error| name(price, error))?,
        qty: instrument.qty(qty).map_err(|error| name(qty, error))?,
    };
    if level.qty.0 < 0 {
        let symbol = &instrument.symbol;
        return Err(Unreadable::new(format_args!(
            "{symbol}: the quantity {qty:?} is negative"
        )));
    }
    Ok(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: DepthKind = DepthKind::Snapshot {
        truncated: false,
        limit: 0,
    };

    fn reader() -> Reader {
        let mut reader = Reader::new(Venue::Binance, Rule::Contiguous, Vec::new());
        reader.discover();
        reader
    }

    fn levels(count: usize) -> Vec<WireLevel<'static>> {
        vec![("1.5", "2"); count]
    }

    #[test]
    fn a_long_message_travels_in_parts() {
        let mut reader = reader();
        let place = reader.find("A").expect("discovered");
        let (bids, asks) = (levels(40), levels(30));
        reader
            .snapshot(
                place,
                WHOLE,
                7,
                Time(1),
                None,
                bids.into_iter(),
                asks.into_iter(),
            )
            .expect("readable");
        let parts: Vec<Depth> = std::iter::from_fn(|| reader.poll())
            .map(|update| match update.body {
                Body::Depth(depth) => depth,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            parts.iter().map(|p| (p.first, p.last)).collect::<Vec<_>>(),
            [(true, false), (false, false), (false, true)]
        );
        assert_eq!(parts.iter().map(|p| p.bids().len()).sum::<usize>(), 40);
        assert_eq!(parts.iter().map(|p| p.asks().len()).sum::<usize>(), 30);
    }

    #[test]
    fn a_bad_number_keeps_nothing_of_its_message() {
        let mut reader = reader();
        let place = reader.find("A").expect("discovered");
        let bids = [("1", "1"), ("0.-1", "1")];
        let result = reader.snapshot(
            place,
            WHOLE,
            7,
            Time(1),
            None,
            bids.into_iter(),
            [].into_iter(),
        );
        assert!(result.is_err_and(|error| error.cause.contains("0.-1")));
        assert_eq!(reader.poll(), None);
    }

    #[test]
    fn an_unreadable_frame_costs_only_the_book_it_names() {
        let mut reader = reader();
        reader.find("BTCUSDT");
        reader.find("ETHUSDT");
        reader.unreadable(r#"{"stream":"ethusdt@depth","data":{"e":"dep"#);
        assert_eq!(
            reader.poll().map(|update| update.instrument),
            Some(InstrumentId(1))
        );
        assert_eq!((reader.poll(), reader.poll_wanted()), (None, Some(1)));
        reader.unreadable("\u{0}garbage");
        assert_eq!(std::iter::from_fn(|| reader.poll()).count(), 2);
    }
}
