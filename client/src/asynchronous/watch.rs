//! Who waits, and who of them watches the descriptor for all.

use super::{Inner, Shared, io_error};
use crate::error::Error;
use crate::record::{Arrived, Reply};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use strait_protocol::{Header, Kind, Reason};
use tokio::sync::Notify;

/// Records taken in one go, before others of the executor have their turn.
const BATCH: usize = 256;

impl Shared {
    /// Waits until `look` finds something. It is asked again after each `signal`, and whenever something happened while this is the one that watches.
    pub(super) async fn wait_for<T>(
        &self,
        signal: &Notify,
        mut look: impl FnMut(&mut Inner) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        loop {
            let mut signalled = pin!(signal.notified());
            signalled.as_mut().enable();
            if let Some(found) = look(&mut self.lock())? {
                return Ok(found);
            }
            let Some(_watch) = first(signalled, self.watch.lock()).await else { continue };
            loop {
                let is_behind = self.pump(&mut self.lock())?;
                if let Some(found) = look(&mut self.lock())? {
                    return Ok(found);
                }
                match is_behind {
                    true => yield_now().await,
                    false => self.sleep().await?,
                }
            }
        }
    }

    /// Waits until the descriptor says something, or a kick.
    async fn sleep(&self) -> Result<(), Error> {
        if let Some(ready) = first(self.kick.notified(), self.descriptor.readable()).await {
            ready.map_err(|error| io_error(&error))?;
            // To its end: only then does tokio know that it isn't readable any more.
            while !matches!(self.descriptor.try_read(&mut [0; 64]), Err(_) | Ok(0)) {}
        }
        Ok(())
    }

    /// Takes what is in the inbox, and makes the descriptor ready to tell of more. True if there is more already.
    fn pump(&self, inner: &mut Inner) -> Result<bool, Error> {
        inner.client.awaits_room = inner.wanted_room.is_some();
        for _ in 0..BATCH {
            if inner.is_full() {
                inner.client.arm_without_data()?;
                self.look_for_room(inner);
                return Ok(false);
            }
            let Some(record) = inner.client.try_receive()? else {
                self.look_for_room(inner);
                return Ok(false);
            };
            let record = Arrived { header: record.header(), payload: record.payload().to_vec() };
            self.dispatch(inner, record);
        }
        Ok(true)
    }

    fn look_for_room(&self, inner: &mut Inner) {
        if inner.wanted_room.is_some_and(|(to, bytes)| inner.client.has_room(to, bytes)) {
            inner.wanted_room = None;
            self.room.notify_one();
        }
    }

    /// Hands a record to who waits for it.
    fn dispatch(&self, inner: &mut Inner, record: Arrived) {
        let header = record.header;
        let ends_request =
            header.kind == Kind::Reply || header.kind == Kind::Notice && header.flags & 0xf == Kind::Request as u8;
        if ends_request && header.correlation > inner.asked_before {
            if let Some(asked) = inner.asked.get_mut(&header.correlation) {
                asked.answer = Some(answer(record));
                asked.is_here.notify_one();
            }
            return;
        }
        inner.arrived_bytes += record.payload.len() + Header::BYTES as usize;
        inner.arrived.push_back(record);
        self.arrived.notify_one();
    }
}

/// What the second future gives, unless the first is done before.
async fn first<T>(unless: impl Future<Output = ()>, of: impl Future<Output = T>) -> Option<T> {
    let (mut unless, mut of) = (pin!(unless), pin!(of));
    poll_fn(|context| match unless.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => of.as_mut().poll(context).map(Some),
    })
    .await
}

/// Lets others run.
pub(super) async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn answer(record: Arrived) -> Result<Reply, Error> {
    let Header { kind, source, code, .. } = record.header;
    match (kind, Reason::from_code(code)) {
        (Kind::Reply, _) => Ok(Reply { header: record.header, payload: record.payload }),
        (_, Some(reason)) => Err(Error::Undelivered { to: source, reason }),
        (_, None) => Err(Error::Unexpected),
    }
}
