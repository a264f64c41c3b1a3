//! An actor that publishes and subscribes as the host orders.

use super::Outcome;
use std::collections::BTreeMap;
use std::time::Duration;
use strait_client::{Client, Header, Kind, Reason, SubscribeOptions};
use strait_tests::{is_pattern, pattern};

/// What came by topics.
#[derive(Default)]
struct Heard {
    /// Of each topic: how many, how many were missed, and the last.
    topics: BTreeMap<String, (u64, u64, String)>,
    returned: Vec<Reason>,
}

/// Does what requests say: `subscribe PATTERN`, `newest PATTERN`, `retained PATTERN`, `end NUMBER`, `publish TOPIC COUNT` (the numbers from 0 on,
/// each with itself as tag), `retain TOPIC TEXT`, `large TOPIC BYTES COUNT`, `retain-large TOPIC`, `ask publish|subscribe TOPICS`, `sleep MS`, `heard`. Replies
/// with what came of it, and code 1 for an error.
pub fn party() -> Outcome<()> {
    let mut client = Client::open()?;
    let mut heard = Heard::default();
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let head = record.header();
        if record.shutdown().is_some() {
            client.reply(&head, 0, b"")?;
            return Ok(());
        }
        let text = match record.parcel() {
            Some(parcel) => format!("{} bytes, {}", parcel.bytes().len(), is_pattern(record.payload())),
            None => String::from_utf8_lossy(record.payload()).into_owned(),
        };
        if head.kind == Kind::Request {
            let (code, said) = match obey(&mut client, &mut heard, &text) {
                Ok(said) => (0, said),
                Err(error) => (1, error.to_string()),
            };
            client.reply(&head, code, said.as_bytes())?;
        } else {
            heard.take(&mut client, &head, &text)?;
        }
    }
}

impl Heard {
    fn take(&mut self, client: &mut Client, head: &Header, text: &str) -> Outcome<()> {
        if head.kind == Kind::Notice {
            self.returned.extend(Reason::from_code(head.code));
            return Ok(());
        }
        let raw = strait_protocol::RawHeader::from(head);
        let (topic, _) = raw.topic().ok_or("a message that came by no topic")?;
        let name = client.topic_name(topic)?.to_string();
        let entry = self.topics.entry(name).or_default();
        // Whatever is filtered or missed, the numbers of one go come in order.
        if let (Ok(now), Ok(last)) = (text.parse::<u64>(), entry.2.parse::<u64>())
            && now > 0
            && now <= last
        {
            return Err(format!("{now} after {last} on {topic}").into());
        }
        entry.0 += 1;
        entry.1 += u64::from(raw.missed());
        entry.2 = text.into();
        Ok(())
    }
}

fn obey(client: &mut Client, heard: &mut Heard, order: &str) -> Outcome<String> {
    let words: Vec<&str> = order.split(' ').collect();
    let all = SubscribeOptions::default();
    Ok(match words[..] {
        ["subscribe", pattern] => client.subscribe(pattern, &all)?.to_string(),
        ["newest", pattern] => client.subscribe(pattern, &SubscribeOptions { newest: true, ..all })?.to_string(),
        ["retained", pattern] => client.subscribe(pattern, &SubscribeOptions { retained: true, ..all })?.to_string(),
        ["odd", pattern] => client.subscribe(pattern, &SubscribeOptions { tag_mask: 1, tag: 1, ..all })?.to_string(),
        ["end", number] => client.unsubscribe(number.parse()?).map(|()| String::new())?,
        ["publish", topic, count] => {
            publish(client, topic, count.parse()?)?;
            String::new()
        }
        ["retain", topic, text] => client.publish_retained(topic, text.as_bytes())?.to_string(),
        ["retain", topic] => client.publish_retained(topic, b"")?.to_string(),
        ["large", topic, bytes, count] => {
            let payload = pattern(bytes.parse()?);
            for _ in 0..count.parse()? {
                client.publish(topic, &payload)?;
            }
            String::new()
        }
        ["retain-large", topic] => client.publish_retained(topic, &pattern(1 << 20))?.to_string(),
        ["ask", verb, topics] => {
            let granted = client.ask_for(&format!("{verb} {topics}"), "to be told", Duration::from_secs(20))?;
            granted.number.to_string()
        }
        ["close", topic] => client.close_topic(topic).map(|()| String::new())?,
        ["sleep", milliseconds] => {
            std::thread::sleep(Duration::from_millis(milliseconds.parse()?));
            String::new()
        }
        ["heard"] => {
            let topics =
                heard.topics.iter().map(|(name, (count, missed, last))| format!("{name} {count} {missed} {last}"));
            let returned = heard.returned.iter().map(|reason| format!("{reason:?}"));
            topics.chain(returned).collect::<Vec<_>>().join("\n")
        }
        _ => return Err(format!("no such order: {order}").into()),
    })
}

fn publish(client: &mut Client, topic: &str, count: u64) -> Outcome<()> {
    let topic = client.topic(topic)?;
    for n in 0..count {
        let text = n.to_string();
        let mut draft = client.draft(Kind::Message, topic, text.len())?;
        draft.payload_mut().copy_from_slice(text.as_bytes());
        draft.header_mut().tag = n;
        draft.send()?;
    }
    Ok(())
}
