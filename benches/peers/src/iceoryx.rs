//! iceoryx2: shared memory lent out by the publisher and read in place, without a process in the middle. Receivers poll, or sleep on an
//! event that every send raises.

use iceoryx2::node::{Node, NodeBuilder};
use iceoryx2::port::{listener::Listener, notifier::Notifier, publisher::Publisher, subscriber::Subscriber};
use iceoryx2::prelude::{
    BackpressureStrategy, Config, LogLevel, Path, SemanticString, SignalHandlingMode, ipc, set_log_level,
};
use std::marker::PhantomData;
use strait_measure::{End, Load, Message, Outcome, Peer, Seat};

type Service = ipc::Service;

/// How a receiver waits.
pub trait Waiting {
    const NAME: &str;
    const SLEEPS: bool;
}

/// Looks, and lets others run now and then.
pub struct Poll;
/// Looks once, then sleeps until an event is raised.
pub struct Event;

impl Waiting for Poll {
    const NAME: &str = "iceoryx2-poll";
    const SLEEPS: bool = false;
}

impl Waiting for Event {
    const NAME: &str = "iceoryx2-event";
    const SLEEPS: bool = true;
}

pub struct Iceoryx<W>(PhantomData<W>);

pub struct IceoryxEnd<W> {
    out: Publisher<Service, [u64], ()>,
    incoming: Subscriber<Service, [u64], ()>,
    bells: Option<(Notifier<Service>, Listener<Service>)>,
    /// Who is still to say that it is connected: as long as somebody isn't, a full queue is dropped and not waited for.
    unheard: usize,
    has_said: bool,
    _node: Node<Service>,
    _waiting: PhantomData<W>,
}

/// Messages that may wait for each receiver: in a stream, in bytes and in number, and else.
const QUEUE_BYTES: usize = 4 << 20;
const QUEUE_MOST: usize = 512;
const QUEUE_LEAST: usize = 4;
/// Looks between two yields.
const LOOKS: u32 = 16;
/// A message is made of these, so that it can be written in place by safe code and quickly.
const WORD: usize = 8;

fn queue(load: &Load) -> usize {
    match load.kind.is_stream() {
        true => (QUEUE_BYTES / load.bytes).clamp(QUEUE_LEAST, QUEUE_MOST),
        false => QUEUE_LEAST,
    }
}

fn configuration(seat: &Seat) -> Outcome<Config> {
    let mut config = Config::default();
    let root = seat.dir.join("iox2");
    config.global.set_root_path(&Path::new(root.as_os_str().as_encoded_bytes())?);
    // Shared memory has names of its own, by which the benchmark finds what a killed party leaves.
    let parent = std::os::unix::process::parent_id();
    config.global.prefix = format!("strait-bench-{parent}-").as_str().try_into()?;
    Ok(config)
}

impl<W: Waiting> Peer for Iceoryx<W> {
    const NAME: &str = W::NAME;
    const HAS_SERVER: bool = false;
    type End = IceoryxEnd<W>;

    fn open(seat: &Seat) -> Outcome<IceoryxEnd<W>> {
        set_log_level(LogLevel::Fatal);
        let config = configuration(seat)?;
        let builder = NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled);
        let node = builder.create::<Service>()?;
        // One more than there are: who connects again may come before it is noticed that it has gone.
        let parties = seat.load.receivers + 1;
        // One channel from the sender, one back.
        let (mine, theirs) = if seat.is_sender() { ("down", "up") } else { ("up", "down") };
        let channel = |name: &str| -> Outcome<_> {
            let service = node.service_builder(&name.try_into()?).publish_subscribe::<[u64]>().history_size(0);
            let service = service.enable_safe_overflow(false).subscriber_max_buffer_size(queue(&seat.load));
            Ok(service.max_publishers(parties).max_subscribers(parties).max_nodes(parties * 2).open_or_create()?)
        };
        let bell = |name: &str| -> Outcome<_> {
            let service = node.service_builder(&name.try_into()?).event();
            let service = service.event_id_max_value(1);
            Ok(service.max_notifiers(parties).max_listeners(parties).max_nodes(parties * 2).open_or_create()?)
        };
        let incoming = channel(theirs)?.subscriber_builder().create()?;
        let out = channel(mine)?;
        let out = out.publisher_builder().initial_max_slice_len(seat.load.bytes / WORD);
        let out = out.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered).create()?;
        let mut bells = None;
        if W::SLEEPS {
            let listener = bell(&format!("{theirs}-bell"))?.listener_builder().create()?;
            bells = Some((bell(&format!("{mine}-bell"))?.notifier_builder().create()?, listener));
        }
        let is_stream = seat.load.kind.is_stream();
        let unheard = if is_stream && seat.is_sender() { seat.load.receivers } else { 0 };
        let has_said = !is_stream || seat.is_sender();
        Ok(IceoryxEnd { out, incoming, bells, unheard, has_said, _node: node, _waiting: PhantomData })
    }
}

impl<W> IceoryxEnd<W> {
    fn put(&mut self, message: Message) -> Outcome<()> {
        let (number, fill) = (message.number.to_le(), u64::from_ne_bytes([message.number as u8; WORD]));
        let sample = self.out.loan_slice_uninit(message.bytes / WORD)?;
        sample.write_from_fn(|at| if at == 0 { number } else { fill }).send()?;
        if let Some((notifier, _)) = &self.bells {
            notifier.notify()?;
        }
        Ok(())
    }

    fn take(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let mut looks = 0;
        loop {
            if let Some(sample) = self.incoming.receive()? {
                return read(bytemuck::cast_slice(sample.payload()));
            }
            looks += 1;
            match &self.bells {
                Some((_, listener)) => drop(listener.blocking_wait(|_| ())?),
                None if looks % LOOKS == 0 => std::thread::yield_now(),
                None => std::hint::spin_loop(),
            }
        }
    }
}

impl<W: Waiting> End for IceoryxEnd<W> {
    fn send(&mut self, message: Message) -> Outcome<()> {
        while self.unheard > 0 {
            self.take(|_| Ok(()))?;
            self.unheard -= 1;
        }
        self.put(message)
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        if !self.has_said {
            // Looking is what connects. There is nothing yet: the sender waits for this very word.
            self.incoming.has_samples()?;
            self.has_said = true;
            self.put(Message { number: 0, bytes: WORD })?;
        }
        self.take(read)
    }
}
