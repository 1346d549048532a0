//! The same tape through hftbacktest: its exchange alone, and its whole backtest.

use std::hint::black_box;

use hftbacktest::backtest::assettype::LinearAsset;
use hftbacktest::backtest::data::Data;
use hftbacktest::backtest::models::{
    CommonFees, ConstantLatency, LogProbQueueFunc2, PowerProbQueueFunc, ProbQueueModel,
    QueueModel as PeerModel, RiskAdverseQueueModel, TradingValueFeeModel,
};
use hftbacktest::backtest::order::{LocalToExch, order_bus};
use hftbacktest::backtest::proc::{NoPartialFillExchange, Processor};
use hftbacktest::backtest::state::State;
use hftbacktest::backtest::{Backtest, DataSource, ExchangeKind, L2AssetBuilder};
use hftbacktest::depth::{HashMapMarketDepth, L2MarketDepth, MarketDepth};
use hftbacktest::types::{
    BUY_EVENT, Bot, DEPTH_EVENT, EXCH_EVENT, Event, LOCAL_EVENT, OrdType, Order, SELL_EVENT,
    Side as PeerSide, Status as PeerStatus, TRADE_EVENT, TimeInForce,
};
use tickerml_shared::event::Side;
use tickerml_shared::num::pow10;
use tickerml_shared::paper::queue::QueueModel;

use crate::ours::{End, FEES_PPM, LATENCY_NS, Status};
use crate::rows::{Ask, Request, Tape, What};

type Fees = TradingValueFeeModel<CommonFees>;
type Exchange<MD, QM> = NoPartialFillExchange<LinearAsset, ConstantLatency, QM, MD, Fees>;

/// The rows as the peer takes them.
pub(crate) fn events(tape: &Tape) -> Vec<Event> {
    let price_one = pow10(tape.instrument.price_scale) as f64;
    let qty_one = pow10(tape.instrument.qty_scale) as f64;
    let events = tape.rows.iter().map(|row| {
        let (kind, side, price, qty) = match row.what {
            What::Level { side, price, qty } => (DEPTH_EVENT, side, price, qty),
            What::Trade(trade) => (TRADE_EVENT, trade.aggressor, trade.price, trade.qty),
        };
        let side = match side {
            Side::Buy => BUY_EVENT,
            Side::Sell => SELL_EVENT,
        };
        let at = row.at.0.cast_signed();
        Event {
            ev: kind | side | EXCH_EVENT | LOCAL_EVENT,
            exch_ts: at,
            local_ts: at,
            px: price.0 as f64 / price_one,
            qty: qty.0 as f64 / qty_one,
            order_id: 0,
            ival: 0,
            fval: 0.0,
        }
    });
    events.collect()
}

fn fees() -> Fees {
    let share = |ppm: i32| f64::from(ppm) / 1e6;
    TradingValueFeeModel::new(CommonFees::new(share(FEES_PPM.0), share(FEES_PPM.1)))
}

fn status(status: PeerStatus) -> Status {
    match status {
        PeerStatus::None => Status::Sent,
        PeerStatus::New => Status::Open,
        PeerStatus::Filled => Status::Filled,
        PeerStatus::Canceled => Status::Canceled,
        PeerStatus::Expired => Status::Expired,
        other => panic!("{other:?}"),
    }
}

/// The exchange alone, with a client that keeps no book: what ours is.
pub(crate) fn exchange<MD>(tape: &Tape, events: &[Event], model: QueueModel, depth: MD) -> Vec<End>
where
    MD: MarketDepth + L2MarketDepth,
{
    match model {
        QueueModel::RiskAverse => play(tape, events, depth, RiskAdverseQueueModel::new()),
        QueueModel::Log2 => {
            let func = LogProbQueueFunc2::new();
            play(tape, events, depth, ProbQueueModel::new(func))
        }
        QueueModel::Power(n) => {
            let func = PowerProbQueueFunc::new(n.value());
            play(tape, events, depth, ProbQueueModel::new(func))
        }
        other => panic!("{other} is not measured"),
    }
}

fn play<MD, QM>(tape: &Tape, events: &[Event], depth: MD, queue: QM) -> Vec<End>
where
    MD: MarketDepth + L2MarketDepth,
    QM: PeerModel<MD>,
{
    let (to_local, to_exchange) = order_bus(ConstantLatency::new(LATENCY_NS, LATENCY_NS));
    let state = State::new(LinearAsset::new(1.0), fees());
    let mut player = Player {
        tape,
        exchange: NoPartialFillExchange::new(depth, state, queue, to_local),
        orders: to_exchange,
        ends: vec![End::default(); tape.orders],
    };
    let mut events = events.iter().peekable();
    for request in &tape.requests {
        let now = request.at.0.cast_signed();
        while let Some(event) = events.next_if(|event| event.exch_ts <= now) {
            player.row(event);
        }
        player.settle(now);
        player.request(request, now);
    }
    for event in events {
        player.row(event);
    }
    player.settle(tape.end().0.cast_signed());
    player.ends
}

struct Player<'a, MD: MarketDepth, QM: PeerModel<MD>> {
    tape: &'a Tape,
    exchange: Exchange<MD, QM>,
    orders: LocalToExch<ConstantLatency>,
    ends: Vec<End>,
}

impl<MD: MarketDepth + L2MarketDepth, QM: PeerModel<MD>> Player<'_, MD, QM> {
    fn row(&mut self, event: &Event) {
        self.arrive(event.exch_ts);
        self.exchange.process(event).expect("a sound tape");
    }

    fn arrive(&mut self, before: i64) {
        loop {
            let due = self.exchange.earliest_recv_order_timestamp();
            if due >= before {
                return;
            }
            let received = self.exchange.process_recv_order(due, None);
            received.expect("sound orders");
        }
    }

    fn settle(&mut self, now: i64) {
        self.arrive(now + 1);
        while let Some(due) = self.orders.earliest_recv_order_timestamp() {
            if due > now {
                return;
            }
            while let Some(order) = self.orders.receive(due) {
                if order.req != PeerStatus::Rejected {
                    self.ends[order.order_id as usize] = End {
                        status: status(order.status),
                        at: order.exch_timestamp,
                    };
                }
            }
        }
    }

    fn request(&mut self, request: &Request, now: i64) {
        let (tick, _) = self.tape.steps();
        let one = pow10(self.tape.instrument.qty_scale) as f64;
        let (price, qty, side, force) = match request.ask {
            Ask::New {
                side,
                price,
                qty,
                post_only,
            } => (price.0, qty.0 as f64 / one, side, post_only),
            Ask::Cancel if self.ends[request.id].status != Status::Open => return,
            Ask::Cancel => (0, 0.0, Side::Buy, false),
        };
        let id = request.id as u64;
        let (side, force) = (peer_side(side), peer_force(force));
        let mut order = Order::new(id, price, tick, qty, side, OrdType::Limit, force);
        order.req = match request.ask {
            Ask::New { .. } => PeerStatus::New,
            Ask::Cancel => PeerStatus::Canceled,
        };
        order.local_timestamp = now;
        self.orders.request(order, |_| {});
    }
}

const fn peer_side(side: Side) -> PeerSide {
    match side {
        Side::Buy => PeerSide::Buy,
        Side::Sell => PeerSide::Sell,
    }
}

const fn peer_force(post_only: bool) -> TimeInForce {
    if post_only {
        TimeInForce::GTX
    } else {
        TimeInForce::GTC
    }
}

/// A backtest of one asset, ready to run; `data` is shared and not copied.
pub(crate) fn backtest(
    tape: &Tape,
    data: &Data<Event>,
    model: QueueModel,
) -> Backtest<HashMapMarketDepth> {
    match model {
        QueueModel::RiskAverse => build(tape, data, RiskAdverseQueueModel::new()),
        QueueModel::Log2 => build(tape, data, ProbQueueModel::new(LogProbQueueFunc2::new())),
        QueueModel::Power(n) => {
            let func = PowerProbQueueFunc::new(n.value());
            build(tape, data, ProbQueueModel::new(func))
        }
        other => panic!("{other} is not measured"),
    }
}

fn build<QM>(tape: &Tape, data: &Data<Event>, queue: QM) -> Backtest<HashMapMarketDepth>
where
    QM: PeerModel<HashMapMarketDepth> + 'static,
{
    let (tick, lot) = tape.steps();
    let asset = L2AssetBuilder::new()
        .data(vec![DataSource::Data(data.clone())])
        .latency_model(ConstantLatency::new(LATENCY_NS, LATENCY_NS))
        .asset_type(LinearAsset::new(1.0))
        .fee_model(fees())
        .queue_model(queue)
        .exchange(ExchangeKind::NoPartialFillExchange)
        .depth(move || HashMapMarketDepth::new(tick, lot))
        .build()
        .expect("every part is given");
    let built = Backtest::builder().add_asset(asset).build();
    built.expect("one asset")
}

/// The whole backtest: the exchange and the client, each with a book, and the order of their events.
pub(crate) fn whole(tape: &Tape, backtest: &mut Backtest<HashMapMarketDepth>) -> Vec<End> {
    let (tick, _) = tape.steps();
    let one = pow10(tape.instrument.qty_scale) as f64;
    let first = tape.rows.first().map_or(0, |row| row.at.0.cast_signed());
    let mut now = first;
    let mut to = |backtest: &mut Backtest<HashMapMarketDepth>, at: i64| {
        let elapsed = backtest.elapse(at - now);
        black_box(elapsed.expect("a sound tape"));
        now = at;
    };
    for request in &tape.requests {
        to(backtest, request.at.0.cast_signed());
        let id = request.id as u64;
        match request.ask {
            Ask::New {
                side,
                price,
                qty,
                post_only,
            } => {
                let (price, qty) = (price.0 as f64 * tick, qty.0 as f64 / one);
                let force = peer_force(post_only);
                let sent = match side {
                    Side::Buy => {
                        backtest.submit_buy_order(0, id, price, qty, force, OrdType::Limit, false)
                    }
                    Side::Sell => {
                        backtest.submit_sell_order(0, id, price, qty, force, OrdType::Limit, false)
                    }
                };
                sent.expect("a new order");
            }
            Ask::Cancel => {
                let order = backtest.orders(0).get(&id);
                if order.is_some_and(Order::cancellable) {
                    backtest.cancel(0, id, false).expect("an open order");
                }
            }
        }
    }
    to(backtest, tape.end().0.cast_signed());
    let ends = (0..tape.orders as u64).map(|id| {
        let order = &backtest.orders(0)[&id];
        End {
            status: status(order.status),
            at: order.exch_timestamp,
        }
    });
    ends.collect()
}
