//! Zenoh over Unix sockets: between peers, and through a router. Publications wait for room instead of being dropped.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;
use strait_measure::{End, Kind, Message, Outcome, Peer, Seat, patiently};
use zenoh::handlers::{FifoChannel, FifoChannelHandler};
use zenoh::pubsub::{Publisher, Subscriber};
use zenoh::qos::CongestionControl;
use zenoh::sample::Sample;
use zenoh::{Config, Session, Wait};

/// Who stands between.
pub trait Topology {
    const NAME: &str;
    const HAS_ROUTER: bool;
}

pub struct Direct;
pub struct Router;

impl Topology for Direct {
    const NAME: &str = "zenoh-direct";
    const HAS_ROUTER: bool = false;
}

impl Topology for Router {
    const NAME: &str = "zenoh-router";
    const HAS_ROUTER: bool = true;
}

pub struct Zenoh<T>(PhantomData<T>);

pub struct ZenohEnd {
    out: Publisher<'static>,
    incoming: Subscriber<FifoChannelHandler<Sample>>,
    /// Whether those it sends to were seen to listen.
    is_heard: bool,
    _session: Session,
}

/// Messages that may wait for whoever calls `receive`.
const QUEUE: usize = 1024;

fn address(path: &Path) -> String {
    format!("unixsock-stream/{}", path.display())
}

fn session(mode: &str, listen: &[String], connect: &[String]) -> Outcome<Session> {
    let mut config = Config::default();
    let settings = [
        ("mode", serde_json::to_string(mode)?),
        ("listen/endpoints", serde_json::to_string(listen)?),
        ("connect/endpoints", serde_json::to_string(connect)?),
        ("scouting/multicast/enabled", "false".into()),
        // A first attempt that comes too early isn't followed by seconds of waiting.
        ("connect/retry", r#"{ "period_init_ms": 5, "period_max_ms": 50, "period_increase_factor": 2 }"#.into()),
    ];
    for (key, value) in settings {
        config.insert_json5(key, &value).map_err(|error| format!("{key}: {error}"))?;
    }
    zenoh::open(config).wait().map_err(|error| error.to_string().into())
}

impl<T: Topology> Peer for Zenoh<T> {
    const NAME: &str = T::NAME;
    const HAS_SERVER: bool = T::HAS_ROUTER;
    type End = ZenohEnd;

    fn serve(dir: &Path) -> Outcome<()> {
        let _router = session("router", &[address(&dir.join("router"))], &[])?;
        loop {
            std::thread::park();
        }
    }

    fn open(seat: &Seat) -> Outcome<ZenohEnd> {
        let session = match (T::HAS_ROUTER, seat.is_sender()) {
            (true, _) => {
                let router = seat.dir.join("router");
                patiently(|| std::fs::metadata(&router))?;
                session("client", &[], &[address(&router)])?
            }
            (false, true) => {
                let others: Vec<String> = seat.others().iter().map(|n| address(&seat.path("zenoh", *n))).collect();
                session("peer", &[], &others)?
            }
            (false, false) => session("peer", &[address(&seat.path("zenoh", seat.index))], &[])?,
        };
        let (mine, theirs) = if seat.is_sender() { ("bench/down", "bench/up") } else { ("bench/up", "bench/down") };
        let incoming = session.declare_subscriber(theirs).with(FifoChannel::new(QUEUE)).wait();
        let out = session.declare_publisher(mine).congestion_control(CongestionControl::Block);
        // An express message isn't kept back to be batched with the next.
        let out = out.express(!seat.load.kind.is_stream()).wait().map_err(|error| error.to_string())?;
        let incoming = incoming.map_err(|error| error.to_string())?;
        let mut end = ZenohEnd { out, incoming, is_heard: false, _session: session };
        if seat.is_sender() && seat.load.kind != Kind::Idle {
            end.be_heard()?;
            // One subscription known doesn't mean all are.
            std::thread::sleep(Duration::from_millis(if seat.load.receivers > 1 { 300 } else { 0 }));
        }
        Ok(end)
    }
}

impl ZenohEnd {
    /// What is published before a subscription has arrived here goes nowhere.
    fn be_heard(&mut self) -> Outcome<()> {
        let is_heard = || -> Outcome<()> {
            let status = self.out.matching_status().wait().map_err(|error| error.to_string())?;
            if status.matching() { Ok(()) } else { Err("nobody listens".into()) }
        };
        patiently(is_heard)?;
        self.is_heard = true;
        Ok(())
    }
}

impl End for ZenohEnd {
    fn send(&mut self, message: Message) -> Outcome<()> {
        if !self.is_heard {
            self.be_heard()?;
        }
        let mut payload = vec![0; message.bytes];
        message.write(&mut payload);
        self.out.put(payload).wait().map_err(|error| error.to_string().into())
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let sample = self.incoming.recv().map_err(|error| error.to_string())?;
        read(&sample.payload().to_bytes())
    }
}
