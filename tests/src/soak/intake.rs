//! A world of the soak: what it receives, and what it makes of it.

use super::world::{PATIENCE, World};
use super::{News, Order, Report, Stamp, small_payload, stamp_bytes};
use std::time::Duration;
use strait_client::{Header, Kind, Reason};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Records read before something is sent again.
const AT_ONCE: usize = 256;

impl World {
    /// Reads what is there; waits for the first so long.
    pub(super) fn read(&mut self, mut wait: Duration) -> Result<()> {
        for _ in 0..AT_ONCE {
            let Some(record) = self.client.receive(Some(wait))? else { break };
            let (header, payload, reason) = (record.header(), record.payload().to_vec(), record.notice());
            wait = Duration::ZERO;
            if record.shutdown().is_some() {
                self.tell_host(&header, b"")?;
                self.is_over = true;
                break;
            }
            if header.source == self.host {
                self.obey(&header, &payload)?;
                continue;
            }
            let taken = match header.kind {
                Kind::Notice => self.take_notice(&header, reason),
                Kind::Reply => self.take_reply(&header, &payload),
                _ => self.take_message(&header, &payload),
            };
            if let Err(what) = taken {
                self.say(&News::Wrong(format!("#{} from #{}: {what}", self.client.id().0, header.source.0)))?;
            }
        }
        Ok(())
    }

    fn obey(&mut self, header: &Header, payload: &[u8]) -> Result<()> {
        if header.kind == Kind::Notice {
            return Ok(());
        }
        match serde_json::from_slice(payload)? {
            Order::Peers(now) => {
                let me = self.client.id().0;
                let left = self.peers.iter().filter(|id| !now.contains(id));
                self.gone.extend(left);
                self.peers = now.into_iter().filter(|id| *id != me).collect();
            }
            Order::Quiet => self.is_quiet = true,
            Order::Report => {
                let report = Report {
                    tally: self.tally,
                    open: self.open.len() as u64,
                    unreturned: self.unreturned.len() as u64,
                    rows: self.accounts.iter().map(|(id, account)| account.row(*id)).collect(),
                };
                self.tell_host(header, &serde_json::to_vec(&report)?)?;
            }
        }
        Ok(())
    }

    /// However long it takes: the host, who waits for this, reads.
    fn tell_host(&mut self, request: &Header, answer: &[u8]) -> Result<()> {
        self.client.set_patience(None);
        self.client.reply(request, 0, answer)?;
        self.client.set_patience(Some(PATIENCE));
        Ok(())
    }

    fn take_message(&mut self, header: &Header, payload: &[u8]) -> std::result::Result<(), String> {
        let (me, from) = (self.client.id().0, header.source.0);
        if header.kind == Kind::Request {
            self.pending.push(*header);
        }
        let number = match header.tag {
            0 => {
                let stamp = Stamp::read(payload)?;
                let number = stamp.number_for(me).filter(|_| stamp.sender == from && stamp.reply == 0);
                number.ok_or_else(|| format!("{stamp:?} isn't for here"))?
            }
            tag if payload.len() < stamp_bytes(1) && payload == small_payload(from, me, tag - 1, payload.len()) => {
                tag - 1
            }
            tag => return Err(format!("number {}: other {} bytes", tag - 1, payload.len())),
        };
        self.count(payload);
        self.account(from).take(number)
    }

    fn take_reply(&mut self, header: &Header, payload: &[u8]) -> std::result::Result<(), String> {
        let (me, from) = (self.client.id().0, header.source.0);
        let asked = self.open.remove(&header.correlation);
        if asked.is_none_or(|(whom, _)| whom != from) {
            return Err(format!("a reply to request {}, which was {asked:?}", header.correlation));
        }
        let stamp = Stamp::read(payload)?;
        let next = stamp.number_for(me).filter(|_| stamp.sender == from).ok_or("a stamp that isn't for here")?;
        self.count(payload);
        self.tally.replied += 1;
        self.account(from).take_reply(stamp.reply, next)
    }

    fn count(&mut self, payload: &[u8]) {
        self.tally.received += 1;
        self.tally.received_bytes += payload.len() as u64;
    }

    fn take_notice(&mut self, header: &Header, reason: Option<Reason>) -> std::result::Result<(), String> {
        const REQUEST: u8 = Kind::Request as u8;
        const REPLY: u8 = Kind::Reply as u8;
        let peer = header.source.0;
        match (reason, header.flags & 0xf) {
            (Some(Reason::Incomplete), about) if about != REQUEST => self.account(peer).incomplete += 1,
            (Some(reason), REQUEST) => self.end_request(header, reason)?,
            (Some(Reason::NoSuchRequest | Reason::NoSuchWorld), REPLY) => {}
            (Some(Reason::NoSuchWorld | Reason::Died), about) if about != REPLY => {
                self.tally.returned += 1;
                if !self.unreturned.remove(&(peer, header.sequence)) {
                    self.account(peer).returned += 1;
                }
            }
            other => return Err(format!("notice {other:?}")),
        }
        Ok(())
    }

    fn end_request(&mut self, header: &Header, reason: Reason) -> std::result::Result<(), String> {
        let Some((peer, number)) = self.open.remove(&header.correlation) else {
            return Err(format!("request {} ended again: {reason}", header.correlation));
        };
        match reason {
            Reason::Deadline => self.tally.overdue += 1,
            Reason::Died | Reason::NoSuchWorld | Reason::Quota => self.tally.unanswered += 1,
            _ => return Err(format!("request {} ended: {reason}", header.correlation)),
        }
        self.account(peer).told.add(number, number + 1);
        Ok(())
    }
}
