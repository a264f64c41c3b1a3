//! Spans and events of `tracing`, for programs that collect them: the feature `tracing`.
//!
//! ```no_run
//! # fn main() -> Result<(), strait_client::Error> {
//! let mut client = strait_client::Client::open()?;
//! while let Some(record) = client.receive(None)? {
//!     let _handling = record.span().entered();
//!     // What is logged here is in the span, and what is sent names the record as its cause.
//! }
//! # Ok(())
//! # }
//! ```

use crate::record::Record;
use strait_protocol::Header;
use tracing::{Level, Span, event, span};

impl Record<'_> {
    /// A span for the handling of this record. Its field `id` is what the `cause` of records is that are sent meanwhile, and of the events
    /// and spans of their receivers.
    pub fn span(&self) -> Span {
        let header = self.header();
        let (source, bytes) = (header.source.0, header.length);
        span!(Level::INFO, "record", id = header.as_cause(), cause = header.cause, kind = ?header.kind, source, bytes)
    }
}

/// Says that a record was sent.
pub(crate) fn sent(header: &Header, sequence: u64) {
    let (destination, bytes) = (header.destination.0, header.length);
    event!(Level::TRACE, cause = header.cause, kind = ?header.kind, destination, bytes, sequence, "sent");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};
    use strait_protocol::{Kind, RawHeader, WorldId};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record as Values};
    use tracing::{Event, Metadata, Subscriber};

    /// Writes down all fields of spans and events.
    #[derive(Clone, Default)]
    struct Notebook(Arc<Mutex<Vec<String>>>);

    impl Visit for Notebook {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.lock().unwrap().push(format!("{field}={value:?}"));
        }
    }

    impl Subscriber for Notebook {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, attributes: &Attributes<'_>) -> Id {
            attributes.record(&mut self.clone());
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Values<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_span_names_its_record_and_its_cause() {
        let header =
            Header { source: WorldId(17), sequence: 3, cause: 99, ..Header::new(Kind::Request, WorldId(16), 0) };
        let raw = RawHeader::from(&header);
        let record = Record { raw: &raw, payload: &[], trailer: None, parcel: None };
        let notebook = Notebook::default();
        tracing::subscriber::with_default(notebook.clone(), || {
            let _handling = record.span().entered();
            sent(&Header { cause: header.as_cause(), ..Header::new(Kind::Reply, WorldId(17), 5) }, 8);
        });
        let written = notebook.0.lock().unwrap().join(" ");
        let id = header.as_cause();
        let expected = format!(
            "id={id} cause=99 kind=Request source=17 bytes=0 \
             message=sent cause={id} kind=Reply destination=17 bytes=5 sequence=8"
        );
        assert_eq!(written, expected);
    }
}
