//! Topics: publishing and subscribing.

use crate::client::{StraitClient, with_client};
use crate::error::{Failure, StraitError};
use crate::parcel::StraitParcel;
use crate::pointer::{bytes, give, text};
use crate::record::StraitRecord;
use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use strait_client::{SubscribeOptions, WorldId};
use strait_protocol::{FLAG_RETAIN, FLAG_TOPIC, Kind, MAX_TOPIC_BYTES};

/// What a subscription wants beside its pattern. All zero: everything, in order, from now on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitSubscribeOptions {
    /// Where we have no room, the newest message of a topic takes the place of the one that waits, instead of its
    /// publishers waiting for us.
    pub newest: bool,
    /// The last values that publishers had kept are wanted first.
    pub retained: bool,
    /// Which bits of the tag matter.
    pub tag_mask: u64,
    /// What those must be.
    pub tag: u64,
}

/// How a message came that somebody published.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitPublished {
    /// The topic: strait_topic_name() has its name.
    pub topic: u64,
    /// The number of our subscription. Each that covers the topic gets a message of its own.
    pub subscription: u32,
    /// Messages of this topic that were for this subscription since the last one, and are lost. What a publisher left when it ended counts as far as
    /// it was looked at, which is for copies of sixteen times its outbox.
    pub missed: u32,
    /// It was there before we subscribed: the topic's last value.
    pub is_retained: bool,
}

/// Opens a topic to publish on, if policy lets us: what is sent to this id, by strait_send() or as a draft, is published. It
/// stays open until strait_close_topic(), or strait_close(). Asked once for each name. Waits up to 10 seconds; ends the life of the payload received last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_topic(
    client: Option<&mut StraitClient>,
    name: *const c_char,
    id: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let name = unsafe { text(name, "name") }?;
        let id = id.ok_or_else(|| Failure::null("id"))?;
        id.write(client.sender()?.topic(name)?.0);
        Ok(0)
    })
}

/// Publishes a message: strait_topic() and then strait_send(), in one. Waits for room if need be, see strait_set_patience(). What is longer than
/// strait_max_payload() goes as a parcel, see strait_publish_parcel(). With `retain` it is kept as the topic's last value for those who
/// subscribe later; then an empty payload takes that back, and what is too long for a record is STRAIT_ERROR_TOO_LARGE. `*sequence` may be NULL.
/// May wait for an answer up to 10 seconds; ends the life of the payload received last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_publish(
    client: Option<&mut StraitClient>,
    topic: *const c_char,
    payload: *const c_void,
    length: usize,
    retain: bool,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let topic = unsafe { text(topic, "topic") }?;
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word.
        let payload = unsafe { bytes(payload, length) }?;
        let client = client.sender()?;
        let sent = if retain { client.publish_retained(topic, payload) } else { client.publish(topic, payload) };
        give(sequence, sent?);
        Ok(0)
    })
}

/// Publishes a message with a sealed parcel, which stays ours too: all who get it read the same memory, and each is charged for it. Who holds as many
/// parcels as it may misses it, and is told how many it missed. Without a payload the parcel's bytes are the payload that it is received with.
/// `*sequence` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_publish_parcel(
    client: Option<&mut StraitClient>,
    topic: *const c_char,
    parcel: Option<&StraitParcel>,
    payload: *const c_void,
    length: usize,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let topic = unsafe { text(topic, "topic") }?;
        let parcel = parcel.ok_or_else(|| Failure::null("parcel"))?.sealed()?;
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word.
        let payload = unsafe { bytes(payload, length) }?;
        give(sequence, client.sender()?.publish_parcel(topic, parcel, payload)?);
        Ok(0)
    })
}

/// Publishes no longer on a topic that strait_topic() or strait_publish() opened; what is kept there for us goes. One that isn't open is fine. Waits
/// up to 10 seconds; ends the life of the payload received last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_close_topic(client: Option<&mut StraitClient>, name: *const c_char) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let name = unsafe { text(name, "name") }?;
        client.sender()?.close_topic(name)?;
        Ok(0)
    })
}

/// Subscribes to all topics that a pattern covers, those that are there and those to come, if policy lets us: `sensors.*.temp`,
/// `logs.>`. `options` may be NULL. What is published from now on comes by strait_receive(); strait_published() says how. Waits
/// up to 10 seconds; ends the life of the payload received last. `*subscription`, its number, may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_subscribe(
    client: Option<&mut StraitClient>,
    pattern: *const c_char,
    options: Option<&StraitSubscribeOptions>,
    subscription: Option<&mut MaybeUninit<u32>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let pattern = unsafe { text(pattern, "pattern") }?;
        let options = options.map_or_else(SubscribeOptions::default, |options| {
            let StraitSubscribeOptions { newest, retained, tag_mask, tag } = *options;
            SubscribeOptions { newest, retained, tag_mask, tag }
        });
        give(subscription, client.sender()?.subscribe(pattern, &options)?);
        Ok(0)
    })
}

/// Ends a subscription. What is on its way still arrives. Waits up to 10 seconds; ends the life of the payload received last.
#[unsafe(no_mangle)]
pub extern "C" fn strait_unsubscribe(client: Option<&mut StraitClient>, subscription: u32) -> c_int {
    with_client(client, |client| {
        client.sender()?.unsubscribe(subscription)?;
        Ok(0)
    })
}

/// Whether somebody published this message on a topic; if so, `*published` says how it came. It may be NULL. False for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn strait_published(
    record: Option<&StraitRecord>,
    published: Option<&mut MaybeUninit<StraitPublished>>,
) -> bool {
    let by_topic = |record: &&StraitRecord| record.kind == Kind::Message as u8 && record.flags & FLAG_TOPIC != 0;
    let Some(record) = record.filter(by_topic) else { return false };
    let how = StraitPublished {
        topic: WorldId::topic(record.correlation as u32).0,
        subscription: (record.correlation >> 32) as u32,
        missed: record.timeout_ms,
        is_retained: record.flags & FLAG_RETAIN != 0,
    };
    give(published, how);
    true
}

/// Writes the name of a topic that something came by, with a NUL at its end: 129 bytes at most. Asked once for each topic. Waits
/// up to 10 seconds; ends the life of the payload received last. STRAIT_ERROR_TOO_LARGE if `capacity` bytes aren't enough.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_topic_name(
    client: Option<&mut StraitClient>,
    topic: u64,
    name: *mut c_char,
    capacity: usize,
) -> c_int {
    with_client(client, |client| {
        if name.is_null() {
            return Err(Failure::null("name"));
        }
        let known = client.sender()?.topic_name(WorldId(topic))?;
        let known = known.as_str().as_bytes();
        if known.len() >= capacity {
            let why = format!(
                "the name takes {} bytes, not {capacity}; none takes more than {}",
                known.len() + 1,
                MAX_TOPIC_BYTES + 1
            );
            return Err(Failure::new(StraitError::TooLarge, why));
        }
        let end = name.wrapping_add(known.len());
        // SAFETY: not null, and looked at above that the name fits the bytes that the caller says are there (strait.h, "Pointers").
        unsafe { std::ptr::copy_nonoverlapping(known.as_ptr(), name.cast(), known.len()) };
        // SAFETY: so does the NUL behind it.
        unsafe { end.write(0) };
        Ok(0)
    })
}
