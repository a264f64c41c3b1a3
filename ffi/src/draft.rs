//! Building a record in place in the outbox.
//!
//! A [`Draft`](strait_client::Draft) borrows its client, which no C struct can. So beginning a draft reserves,
//! looks where the payload goes, and lets go; sending it reserves again. Both find the same place: a reservation is
//! where the producer stands, only a commit moves that, and whoever would commit is refused while a draft is open
//! ([`StraitClient::sender`]). The room can't have shrunk either: the other side's cursor never runs backwards.

use crate::client::{StraitClient, with_client};
use crate::error::{Failure, StraitError};
use crate::pointer::give;
use crate::record::StraitRecord;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use strait_client::{Client, Draft, Header, Kind, WorldId};

/// A record under construction, its payload in the outbox itself. Before it is sent, `tag`, `code` and `flags` may
/// be set and `length` lowered; the rest stays.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitDraft {
    /// Where the payload goes. What is there before it is written is unspecified. Aligned to 16 bytes; never NULL;
    /// alive until the draft is sent or dropped.
    pub payload: *mut u8,
    /// Bytes of payload: at first as many as were asked for; may be lowered.
    pub length: usize,
    /// The application's own word.
    pub tag: u64,
    /// Of a reply: the application's status, 0 for success.
    pub code: u16,
    /// 0x10 and above belong to worlds, those below are cleared.
    pub flags: u8,
    /// An enum strait_kind.
    pub kind: u8,
    /// Who it is for.
    pub destination: u64,
    /// Of a reply: that of its request.
    pub correlation: u64,
}

/// What the client remembers of it.
#[derive(Debug)]
pub(crate) struct OpenDraft {
    header: Header,
    bytes: usize,
    payload: *mut u8,
}

fn begin(client: &mut StraitClient, header: Header, bytes: usize) -> Result<StraitDraft, Failure> {
    let payload = reserve(client.sender()?, &header, bytes)?.payload_mut().as_mut_ptr();
    client.draft = Some(OpenDraft { header, bytes, payload });
    Ok(StraitDraft {
        payload,
        length: bytes,
        tag: header.tag,
        code: header.code,
        flags: header.flags,
        kind: header.kind as u8,
        destination: header.destination.0,
        correlation: header.correlation,
    })
}

fn reserve<'a>(client: &'a mut Client, header: &Header, bytes: usize) -> Result<Draft<'a>, Failure> {
    Ok(client.draft(header.kind, header.destination, bytes)?)
}

impl OpenDraft {
    fn judge(&self, draft: &StraitDraft) -> Result<(), Failure> {
        let Header { kind, destination, correlation, .. } = self.header;
        let is_this = draft.payload == self.payload
            && (draft.kind, draft.destination, draft.correlation) == (kind as u8, destination.0, correlation);
        if !is_this {
            return Err(Failure::new(StraitError::Draft, "this isn't the draft that is open"));
        }
        if draft.length > self.bytes {
            let text = format!("draft of {} bytes was begun with {}", draft.length, self.bytes);
            return Err(Failure::new(StraitError::TooLarge, text));
        }
        Ok(())
    }

    fn send(&self, client: &mut Client, draft: &StraitDraft, is_staged: bool) -> Result<u64, Failure> {
        let mut place = reserve(client, &self.header, self.bytes)?;
        assert!(place.payload_mut().as_mut_ptr() == self.payload, "the outbox moved on under a draft");
        let header = place.header_mut();
        (header.correlation, header.sequence) = (self.header.correlation, self.header.sequence);
        (header.tag, header.code, header.flags) = (draft.tag, draft.code, draft.flags);
        // Not more than was reserved, which was a u32: `judge` compared them.
        place.shorten(draft.length as u32);
        Ok(if is_staged { place.stage() } else { place.send() }?)
    }
}

fn finish(
    client: Option<&mut StraitClient>,
    draft: Option<&StraitDraft>,
    sequence: Option<&mut MaybeUninit<u64>>,
    is_staged: bool,
) -> c_int {
    with_client(client, |client| {
        let draft = draft.ok_or_else(|| Failure::null("draft"))?;
        let open = client.draft.as_ref().ok_or_else(|| Failure::new(StraitError::Draft, "no draft is open"))?;
        open.judge(draft)?;
        give(sequence, open.send(&mut client.client, draft, is_staged)?);
        client.draft = None;
        Ok(0)
    })
}

/// Begins a message of up to `length` bytes in place, waiting for room if need be (see strait_set_patience()): fill
/// `draft->payload`, then strait_draft_send(). Until it is sent or dropped, every other call that would send is
/// STRAIT_ERROR_DRAFT.
#[unsafe(no_mangle)]
pub extern "C" fn strait_draft_begin(
    client: Option<&mut StraitClient>,
    to: u64,
    length: usize,
    draft: Option<&mut MaybeUninit<StraitDraft>>,
) -> c_int {
    with_client(client, |client| {
        let draft = draft.ok_or_else(|| Failure::null("draft"))?;
        draft.write(begin(client, Header::new(Kind::Message, WorldId(to), 0), length)?);
        Ok(0)
    })
}

/// Begins the reply to a request in place, like strait_draft_begin(). The payload of the request stays readable.
#[unsafe(no_mangle)]
pub extern "C" fn strait_draft_begin_reply(
    client: Option<&mut StraitClient>,
    request: Option<&StraitRecord>,
    length: usize,
    draft: Option<&mut MaybeUninit<StraitDraft>>,
) -> c_int {
    with_client(client, |client| {
        let request = request.ok_or_else(|| Failure::null("request"))?;
        let draft = draft.ok_or_else(|| Failure::null("draft"))?;
        let mut header = Header::new(Kind::Reply, WorldId(request.source), 0);
        let Header { correlation, tag, sequence, .. } = request.header();
        (header.correlation, header.tag, header.sequence) = (correlation, tag, sequence);
        draft.write(begin(client, header, length)?);
        Ok(0)
    })
}

/// Sends a draft. `*sequence`, which a notice about it would carry, may be NULL. On failure it is still open.
#[unsafe(no_mangle)]
pub extern "C" fn strait_draft_send(
    client: Option<&mut StraitClient>,
    draft: Option<&StraitDraft>,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    finish(client, draft, sequence, false)
}

/// Leaves a draft in the outbox until something else is sent, or strait_flush(): for many small records in a row.
#[unsafe(no_mangle)]
pub extern "C" fn strait_draft_stage(
    client: Option<&mut StraitClient>,
    draft: Option<&StraitDraft>,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    finish(client, draft, sequence, true)
}

/// Drops the draft that is open: it is as if it had never been. Fine if none is.
#[unsafe(no_mangle)]
pub extern "C" fn strait_draft_drop(client: Option<&mut StraitClient>) -> c_int {
    with_client(client, |client| {
        client.draft = None;
        Ok(0)
    })
}
