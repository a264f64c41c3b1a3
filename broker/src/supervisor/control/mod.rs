//! The control service, `strait.control`: a world like any other to the switch, with the supervisor behind it.

mod grants;
mod groups;
mod lives;
mod looks;
mod names;
mod policy;
mod snapshots;
mod taps;
mod topics;
mod worlds;

use super::entry::{Entry, Nature};
use super::heirs::Farewell;
use super::topics::Wishes;
use super::{Supervisor, log};
use crate::policy::Permission;
use std::time::Duration;
use strait_protocol::control::{Answer, MAX_REQUEST_BYTES, Request};
use strait_protocol::{Header, Kind, WorldId};

/// Records that are answered before the supervisor looks at what else there is.
const MAX_IN_ONE_GO: u32 = 64;

impl Supervisor {
    /// Answers what has arrived, up to a bound: worlds that ask without end must not keep the supervisor from its other work.
    pub(super) fn serve(&mut self) {
        self.is_behind = true;
        for _ in 0..MAX_IN_ONE_GO {
            // Nothing is gathered here: what comes in pieces is no request, and each of them counts.
            let (header, payload) = match self.control.try_receive_piece() {
                Ok(Some(record)) if record.payload().len() > MAX_REQUEST_BYTES => (record.header(), None),
                Ok(Some(record)) => (record.header(), Some(record.payload().to_vec())),
                Ok(None) => {
                    self.is_behind = false;
                    return;
                }
                Err(error) => {
                    log(&format!("the control service is cut off: {error}"));
                    self.is_over = true;
                    return;
                }
            };
            match header.kind {
                Kind::Request => self.serve_one(&header, payload.as_deref()),
                Kind::Reply if self.take_decision(&header, payload.as_deref()) => {}
                Kind::Reply if self.take_store_answer(&header, payload.as_deref()) => {}
                Kind::Reply => self.take_acknowledgement(&header),
                Kind::Notice if self.take_store_answer(&header, None) => {}
                Kind::Notice => self.take_undecided(&header),
                Kind::Message if header.source == WorldId::STORE => self.take_report(payload.as_deref()),
                Kind::Message | Kind::Multicast => {}
            }
        }
    }

    fn serve_one(&mut self, asker: &Header, payload: Option<&[u8]>) {
        let request = match payload.map(Request::decode) {
            Some(Ok(request)) => request,
            Some(Err(error)) => return self.answer(asker, &Answer::Refused(error.to_string())),
            None => {
                return self
                    .answer(asker, &Answer::Refused(format!("a request has at most {MAX_REQUEST_BYTES} bytes")));
            }
        };
        if let Err(why) = self.judge(asker, request) {
            self.answer(asker, &Answer::Refused(why));
        }
    }

    /// Does what is asked if the asker may: each room of this folder judges its own questions. An `Ok` is answered there, at once or later, an
    /// `Err` by the caller.
    fn judge(&mut self, asker: &Header, request: Request) -> Result<(), String> {
        match self.worlds.get(&asker.source) {
            None => return Err("you are no world".into()),
            // A life that is over has asked it, and another may do other things.
            Some(entry) if entry.nature == Nature::Jailed && !entry.is_welcomed => return Err("you have ended".into()),
            Some(entry) if asker.sequence <= entry.former_records => return Err("you have ended".into()),
            Some(_) => {}
        }
        match request {
            Request::Resolve { name } => self.resolve(asker, &name),
            Request::List { from, limit } => self.list(asker, from, limit),
            Request::Start { template, name } => self.start(asker, &template, name.as_deref()),
            Request::Spawn { specification } => self.spawn(asker, &specification),
            Request::Stop { name, deadline_ms, reason } => self.stop(asker, &name, deadline_ms, &reason),
            Request::Kill { name, reason } => self.kill_named(asker, &name, &reason),
            Request::Remove { name, deadline_ms, reason } => self.remove(asker, &name, deadline_ms, &reason),
            Request::Clear { name } => self.clear_states(asker, &name),
            Request::Clone { name } => self.clone_named(asker, &name),
            Request::Define { specification } => self.define_asleep(asker, &specification),
            Request::Wake { name } => self.wake(asker, &name),
            Request::Upgrade { name, template, specification, beside, deadline_ms, reason } => {
                let deadline = Duration::from_millis(deadline_ms.into());
                self.upgrade(asker, &name, (template, &specification), beside, Farewell { deadline, reason })
            }
            Request::Restart { name, deadline_ms, reason } => {
                let deadline = Duration::from_millis(deadline_ms.into());
                self.restart(asker, &name, &Farewell { deadline, reason })
            }
            Request::Close => self.close(asker),
            Request::Unlink { one, other } => self.unlink(asker, one, other),
            Request::Wait { id } => self.wait(asker, WorldId(id)),
            Request::OpenTopic { name } => self.asked_to_open(asker, &name),
            Request::CloseTopic { id } => self.close_topic(asker, WorldId(id)),
            Request::Subscribe { pattern, newest, retained, tag_mask, tag } => {
                self.asked_to_subscribe(asker, &pattern, Wishes { newest, retained, tag_mask, tag })
            }
            Request::Unsubscribe { number } => self.unsubscribe(asker, number),
            Request::NameTopic { id } => self.name_topic(asker, id),
            Request::Inspect { name } => self.inspect(asker, &name),
            Request::Ask { resource, reason, deadline_ms } => self.ask(asker, &resource, reason, deadline_ms),
            Request::Dial { place, timeout_ms } => self.dial(asker, &place, timeout_ms),
            Request::Requests { from } => self.show_questions(asker, from),
            Request::Grants { from } => self.show_grants(asker, from),
            Request::Decide { number, decision } => self.decide_question(asker, number, decision),
            Request::Revoke { number } => self.revoke_grant(asker, number),
            Request::Snapshot { name, deadline_ms, reason } => self.snapshot(asker, &name, deadline_ms, &reason),
            Request::Snapshots { name } => self.snapshots(asker, &name),
            Request::Keeping { id } => self.keeping(asker, WorldId(id)),
            Request::Judge { from, what } => self.judge_policy(asker, &from, &what),
            Request::Policy { name } => self.show_policy(asker, &name),
            Request::Tap { pattern, payload } => self.tap(asker, &pattern, payload),
            Request::Untap => self.untap(asker),
            Request::Log { from } => self.log(asker, from),
            Request::Groups => self.groups(asker),
        }
    }

    /// Whoever asks: `judge` has looked whether it is there.
    fn asker(&self, asker: &Header) -> &Entry {
        &self.worlds[&asker.source]
    }

    /// Whether policy lets the asker have this done.
    fn allow(&self, asker: &Header, asked: &Permission) -> Result<(), String> {
        self.asker(asker).policy.command(asked).map(drop).map_err(|missing| missing.to_string())
    }

    fn allow_admin(&self, asker: &Header) -> Result<(), String> {
        self.allow(asker, &Permission::Admin)
    }

    pub(super) fn answer(&mut self, asker: &Header, answer: &Answer) {
        if let Err(error) = self.control.reply(asker, 0, &answer.encode()) {
            log(&format!("an answer to {} is lost: {error}", asker.source));
        }
    }
}
