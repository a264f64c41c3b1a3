//! How what one world sends another keeps its order while it changes between two ways: through the switch, and over a direct link.
//!
//! ```text
//! before its first record on the link     OPEN through the switch: the receiver may read the link
//! before its next record by the switch    END on the link: the receiver doesn't read behind it
//!                                         CLOSE through the switch, with the place behind END: up to there the link is read first
//! ```
//!
//! As often as it likes, in each direction by itself. OPEN and CLOSE are records with [`FLAG_MARK`](crate::FLAG_MARK) that the switch
//! lets through only between the two whose link it is, and in order with everything else; END is a record with the same flag on the
//! link. A link that ends is closed without END, which may find no room: nothing is written behind the place that CLOSE names.
//!
//! A hostile sender can harm the order of its own records, or say a place that isn't true, which ends the link.

/// The `code` of a mark: the link may be read.
pub const OPEN: u16 = 1;
/// The `code` of a mark: the link is to be read up to the place in `tag`.
pub const CLOSE: u16 = 2;

/// The receiving side of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Crossing {
    /// The link is not read.
    #[default]
    Closed,
    /// It is read.
    Open,
    /// It is read up to this place, before anything else is.
    Until(u64),
}

/// A place that can't be true: before what was read, or behind what is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FalsePlace;

impl Crossing {
    /// OPEN has come through the switch.
    pub fn open(&mut self) {
        *self = Self::Open;
    }

    /// CLOSE has come through the switch, while the link was read up to `read_to` and is published up to `published`.
    pub fn close(&mut self, place: u64, read_to: u64, published: u64) -> Result<(), FalsePlace> {
        if place < read_to || place > published {
            return Err(FalsePlace);
        }
        *self = if place > read_to { Self::Until(place) } else { Self::Closed };
        Ok(())
    }

    /// END was read from the link.
    #[inline]
    pub fn end(&mut self) {
        *self = Self::Closed;
    }

    /// The link was read up to here.
    #[inline]
    pub fn read(&mut self, read_to: u64) {
        if let Self::Until(place) = *self
            && read_to >= place
        {
            *self = Self::Closed;
        }
    }

    /// Whether the link must be read before anything else is.
    #[inline]
    pub fn must_read(&self) -> bool {
        matches!(self, Self::Until(_))
    }

    /// Whether the link may be read.
    #[inline]
    pub fn may_read(&self) -> bool {
        *self != Self::Closed
    }
}

#[cfg(all(test, not(loom)))]
#[path = "crossing_tests.rs"]
mod tests;
