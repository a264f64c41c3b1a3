//! Templates that are cloned: the first world gives an image of itself, the others are made of that.
//!
//! An image is bytes that a world wrote. The supervisor checks that nobody can change them any more and how many they are, and looks into none:
//! whoever made them up has made up its own clones. The first world is asked before it is welcomed, so nothing that anybody sent to it is in its image.
//!
//! What goes wrong with an image costs speed: the template is started the long way, and a line says why. A clone that doesn't come to life ends
//! with a note.

use super::entry::Origin;
use super::{Supervisor, log};
use crate::config::World;
use rustix::fs::SealFlags;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_jail::Exit;
use strait_protocol::WorldId;
use strait_protocol::handshake::{self, Checkpoint};
use strait_sys::restorer::{self, Fault};
use strait_sys::socket;

/// What there is of a template.
#[derive(Debug)]
pub(super) enum Image {
    /// A world is on its way to its checkpoint. Others are started the long way meanwhile.
    Awaited,
    /// Sealed bytes.
    Made(OwnedFd),
    /// There will be none.
    Refused,
}

/// Whether a world had to be asked for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Never,
    Now,
    Before,
}

/// What nobody can change, cut or lengthen.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK).union(SealFlags::SEAL);

/// What a world of this origin is restored from.
pub(super) fn of<'a>(
    origin: &Origin,
    images: &'a HashMap<String, Image>,
    restorer: Option<&'a OwnedFd>,
) -> Option<strait_jail::Image<'a>> {
    let Origin::Cloned { template } = origin else { return None };
    match images.get(template) {
        Some(Image::Made(content)) => {
            restorer.map(|restorer| strait_jail::Image { restorer: restorer.as_fd(), content: content.as_fd() })
        }
        _ => None,
    }
}

impl Supervisor {
    /// How a new world of a template comes to be.
    pub(super) fn origin(&mut self, template: Option<String>, world: &World) -> Origin {
        let Some(template) = template.filter(|_| world.checkpoint) else { return Origin::Started };
        match self.images.get(&template) {
            Some(Image::Made(_)) => Origin::Cloned { template },
            Some(_) => Origin::Started,
            None => {
                self.images.insert(template.clone(), Image::Awaited);
                let deadline = Instant::now() + Duration::from_millis(world.checkpoint_ms.into());
                Origin::First { template, limit_bytes: world.checkpoint_bytes, deadline, is_asked: false }
            }
        }
    }

    /// Asks a world for its image if it is the first of its template. It is welcomed when it has answered.
    pub(super) fn ask_for_image(&mut self, id: WorldId) -> Asked {
        let Some(entry) = self.worlds.get_mut(&id) else { return Asked::Never };
        let Some(connection) = &entry.connection else { return Asked::Never };
        match &mut entry.origin {
            Origin::First { is_asked: false, limit_bytes, .. } => {
                // What it can't send for want of this is no image, and is told as that.
                let _ = socket::take_descriptors(connection.as_fd(), true);
                // One that is gone already says so by the end of its connection.
                let _ = socket::try_send(connection.as_fd(), &handshake::image_wanted(*limit_bytes), &[]);
                if let Origin::First { is_asked, .. } = &mut entry.origin {
                    *is_asked = true;
                }
                Asked::Now
            }
            Origin::First { .. } => Asked::Before,
            _ => Asked::Never,
        }
    }

    /// Takes what the first world of a template answers. It is a world like any other from then on.
    pub(super) fn take_checkpoint(&mut self, id: WorldId, answer: &[u8], mut descriptors: Vec<OwnedFd>) {
        let Some(limit) = self.limit(id) else { return };
        if let Some(connection) = self.worlds.get(&id).and_then(|entry| entry.connection.as_ref()) {
            // It was the one descriptor that this world ever has to send; another ends its connection anyway.
            let _ = socket::take_descriptors(connection.as_fd(), false);
        }
        let made = match (Checkpoint::decode(answer), descriptors.pop()) {
            (Some(Checkpoint::Made), Some(image)) => check(&image, limit).map(|()| image),
            (Some(Checkpoint::Failed(why)), _) => Err(why),
            _ => Err("its answer was no answer".into()),
        };
        match made.and_then(|image| self.prepare_restorer().map(|()| image)) {
            Ok(image) => {
                if let Some(template) = self.end_wait(id) {
                    self.images.insert(template, Image::Made(image));
                }
            }
            Err(why) => self.give_up_image(id, &why),
        }
    }

    /// There will be no image of this world's template, if it was to give one.
    fn give_up_image(&mut self, id: WorldId, why: &str) {
        let Some(template) = self.end_wait(id) else { return };
        let why = why.replace(char::is_control, "?");
        log(&format!("template {template} can't be cloned and is started the long way: {why}"));
        self.images.insert(template, Image::Refused);
    }

    /// A world has ended: a first one without an image leaves that to the next, and a clone that didn't come to life says why.
    pub(super) fn judge_origin(&mut self, id: WorldId) {
        if let Some(template) = self.end_wait(id) {
            self.images.remove(&template);
        }
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let Origin::Cloned { template } = &entry.origin else { return };
        let fault = match entry.exit {
            Some(Exit::Code(code)) if !entry.is_mapped => Fault::from_code(code),
            _ => None,
        };
        let Some(fault) = fault else { return };
        entry.note = format!("its template's image can't be restored: {fault}");
        log(&format!("template {template}: a clone didn't come to life: {fault}"));
        match fault {
            // The next one is started, and gives an image of what is there now.
            Fault::FileGone | Fault::FileChanged => self.images.remove(template),
            _ => self.images.insert(template.clone(), Image::Refused),
        };
    }

    fn limit(&self, id: WorldId) -> Option<u64> {
        match self.worlds.get(&id)?.origin {
            Origin::First { limit_bytes, .. } => Some(limit_bytes),
            _ => None,
        }
    }

    /// The template whose image this world was to give, which it isn't any more.
    fn end_wait(&mut self, id: WorldId) -> Option<String> {
        let entry = self.worlds.get_mut(&id)?;
        match std::mem::replace(&mut entry.origin, Origin::Started) {
            Origin::First { template, .. } => Some(template),
            other => {
                entry.origin = other;
                None
            }
        }
    }

    fn prepare_restorer(&mut self) -> Result<(), String> {
        if self.restorer.is_none() {
            let made = restorer::file().map_err(|errno| format!("the restorer can't be made a file: {errno}"))?;
            self.restorer = Some(made);
        }
        Ok(())
    }
}

/// All that is asked of an image: that it stays as it is, and isn't too large.
fn check(image: &OwnedFd, limit: u64) -> Result<(), String> {
    let seals = rustix::fs::fcntl_get_seals(image).map_err(|errno| format!("its image is no memory file: {errno}"))?;
    if !seals.contains(SEALS) {
        return Err(format!("its image isn't sealed: has {seals:?}"));
    }
    let bytes = rustix::fs::fstat(image).map_err(|errno| format!("fstat of its image: {errno}"))?.st_size;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes <= limit => Ok(()),
        _ => Err(format!("its image has {bytes} bytes, more than `checkpoint_bytes` = {limit}")),
    }
}
