//! The trusting baseline, for the benchmark alone: what a user would write who has fast, and not yet secure.
//!
//! A ring in memory that both sides can write (`shared_memory`), with its indices under a mutex and its sleepers on events that are
//! in there too (`raw_sync`). Either side can crash, hang or deceive the other, which is why nothing of strait is made so, and why
//! this crate, unlike the rest of the benchmark, has unsafe code: these libraries have no other interface.
#![expect(missing_docs, reason = "used by the benchmark alone, not an interface")]

mod ring;

use ring::{Ring, Side};
use shared_memory::{Shmem, ShmemConf};
use strait_measure::{End, Load, Message, Outcome, Peer, Seat, patiently};

/// Two rings between the sender and each receiver.
pub struct RawSync;

pub struct RingsEnd {
    links: Vec<Link>,
}

/// One receiver's memory: a ring there, and one back. The rings lie in the memory, so they go first.
struct Link {
    out: Ring,
    incoming: Ring,
    _memory: Shmem,
}

impl Peer for RawSync {
    const NAME: &str = "raw-sync";
    const HAS_SERVER: bool = false;
    type End = RingsEnd;

    fn open(seat: &Seat) -> Outcome<RingsEnd> {
        let links = if seat.is_sender() {
            seat.others().into_iter().map(|receiver| Link::join(seat, receiver)).collect::<Outcome<_>>()?
        } else {
            vec![Link::make(seat)?]
        };
        Ok(RingsEnd { links })
    }
}

impl Link {
    /// The receiver's side, which makes the memory. A file of the run says how it is called.
    fn make(seat: &Seat) -> Outcome<Self> {
        let size = 2 * Ring::size(seat.load.bytes);
        let parent = std::os::unix::process::parent_id();
        let name = format!("/strait-bench-{parent}-{}-{}", std::process::id(), seat.index);
        let memory = ShmemConf::new().size(size).os_id(name).create()?;
        let [incoming, out] = Self::rings(&memory, &seat.load, true)?;
        // Only a link that is ready has its name in the file.
        let file = seat.path("memory", seat.index);
        std::fs::write(file.with_extension("new"), memory.get_os_id())?;
        std::fs::rename(file.with_extension("new"), file)?;
        Ok(Self { out, incoming, _memory: memory })
    }

    fn join(seat: &Seat, receiver: usize) -> Outcome<Self> {
        let name = patiently(|| std::fs::read_to_string(seat.path("memory", receiver)))?;
        let memory = ShmemConf::new().os_id(name).open()?;
        let [out, incoming] = Self::rings(&memory, &seat.load, false)?;
        Ok(Self { out, incoming, _memory: memory })
    }

    fn rings(memory: &Shmem, load: &Load, is_new: bool) -> Outcome<[Ring; 2]> {
        let size = Ring::size(load.bytes);
        let sides = if is_new { [Side::Reads, Side::Writes] } else { [Side::Writes, Side::Reads] };
        let at = |n: usize| {
            // SAFETY: the memory was made with room for two rings, and a link lets go of it after them.
            unsafe { Ring::at(memory.as_ptr().wrapping_add(n * size), load.bytes, sides[n], is_new) }
        };
        Ok([at(0)?, at(1)?])
    }
}

impl End for RingsEnd {
    fn send(&mut self, message: Message) -> Outcome<()> {
        self.links.iter_mut().try_for_each(|link| link.out.put(|slot| message.write(slot)))
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        self.links.first_mut().ok_or("no link")?.incoming.take(read)
    }
}
