//! World, servers and fault schedule in one hand, in virtual or in real time.

use std::collections::BTreeMap;

use crate::faults::{FaultKind, FaultSchedule};
use crate::venues::VenueServer;
use crate::world::{VenueKind, World, WorldConfig};

/// What an [`Exchange`] is made of.
#[derive(Clone, Debug)]
pub struct ExchangeConfig {
    /// The market.
    pub world: WorldConfig,
    /// What goes wrong when.
    pub faults: FaultSchedule,
}

impl ExchangeConfig {
    /// The default markets without faults.
    pub fn new(seed: u64, start_ns: u64) -> ExchangeConfig {
        ExchangeConfig {
            world: WorldConfig::new(seed, start_ns),
            faults: FaultSchedule::none(),
        }
    }
}

/// The four venues over one world.
#[derive(Debug)]
pub struct Exchange {
    world: World,
    servers: BTreeMap<VenueKind, VenueServer>,
    faults: FaultSchedule,
    start_ns: u64,
}

impl Exchange {
    /// Opens the markets: books are full from the start.
    pub fn new(config: ExchangeConfig) -> Exchange {
        let (seed, start_ns) = (config.world.seed, config.world.start_ns);
        let servers = VenueKind::ALL
            .into_iter()
            .map(|kind| {
                (
                    kind,
                    VenueServer::new(kind, seed, &config.world.instruments),
                )
            })
            .collect();
        let world = World::with_config(config.world);
        let mut exchange = Exchange {
            world,
            servers,
            faults: config.faults,
            start_ns,
        };
        exchange.advance(start_ns);
        exchange
    }

    /// Lives until `now_ns`: market events reach the servers, timers fire, faults that are due
    /// are injected (those that cannot happen are skipped). Then drain each server with
    /// [`VenueServer::poll_transmit`].
    pub fn advance(&mut self, now_ns: u64) {
        while let Some((venue, fault)) = self.faults.poll(now_ns.saturating_sub(self.start_ns)) {
            if let Some(server) = self.servers.get_mut(&venue) {
                server.inject(&fault, now_ns);
            }
        }
        for event in self.world.advance(now_ns) {
            if let Some(server) = self.servers.get_mut(&event.venue) {
                server.apply(event);
            }
        }
        for server in self.servers.values_mut() {
            server.handle_timeout(now_ns);
        }
    }

    /// The market.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// A server.
    pub fn server(&self, kind: VenueKind) -> &VenueServer {
        &self.servers[&kind]
    }

    /// A server.
    pub fn server_mut(&mut self, kind: VenueKind) -> &mut VenueServer {
        self.servers.get_mut(&kind).expect("all four servers exist")
    }

    /// Ends the schedule and all faults that wait or last; half-open sockets stay as they are.
    pub fn calm(&mut self, now_ns: u64) {
        self.faults = FaultSchedule::none();
        for server in self.servers.values_mut() {
            server.disarm(now_ns);
        }
    }

    /// How often each kind of fault was injected at each venue.
    pub fn injected(&self) -> BTreeMap<VenueKind, BTreeMap<FaultKind, u64>> {
        self.servers
            .iter()
            .map(|(k, s)| (*k, s.injected_counts().clone()))
            .collect()
    }
}
