//! From an order to a running world that the kernel vouches for.

use super::entry::{Channel, Entry, Nature, Order, Origin, State};
use super::images::{self, Asked};
use super::rest::{Rest, dormant};
use super::{Supervisor, Token, log};
use crate::config::{self, Stdio, Uids, Wake, World};
use crate::policy::Role;
use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Instant;
use strait_jail::{Access, Bind, Fds, MAX_OPEN, Process, SpawnError, Spec, Ticket};
use strait_protocol::control::Answer;
use strait_protocol::{SliceSize, WorldId, handshake};
use strait_sys::socket::{self, Peer};
use strait_sys::wake;

/// Connections that may wait for their process to become known: those of worlds that are being started, and of jails that wait for their world.
const MAX_UNMATCHED: usize = MAX_OPEN + MAX_LENT;
/// Kinds of worlds that jails may wait for at a time, as many of each as there are seats.
const SERIES: usize = 4;
/// Uids that the launcher may have for such jails.
const MAX_LENT: usize = 32;

impl Supervisor {
    /// Begins to start a world. The asker is answered when its program runs, or with what went wrong.
    pub(super) fn begin(&mut self, order: Order) -> Result<WorldId, String> {
        let id = self.enter(order)?;
        self.start_life(id).inspect_err(|_| {
            if let Some(entry) = self.worlds.get_mut(&id) {
                entry.asked_by = None;
            }
            self.judge_origin(id);
            self.detach(id);
        })?;
        Ok(id)
    }

    /// Makes a world known that the first message to it will start. The asker is answered when it can be sent to.
    pub(super) fn define(&mut self, order: Order) -> Result<WorldId, String> {
        if order.world.wake != Wake::Message {
            return Err(format!("`{}` is to sleep, and nothing wakes it: it takes `wake = \"message\"`", order.name));
        }
        let id = self.enter(order)?;
        if let Some(entry) = self.worlds.get_mut(&id) {
            entry.state = State::Asleep;
            entry.rest.iter_mut().for_each(|rest| rest.is_kept = true);
        }
        Ok(id)
    }

    /// Gives a world its name, its id and its place in the switch.
    fn enter(&mut self, order: Order) -> Result<WorldId, String> {
        self.check_name(&order.name)?;
        order.account.iter().try_for_each(|account| self.count_start(account))?;
        self.enter_beside(order)
    }

    /// The same for a world whose name is another's as yet.
    pub(super) fn enter_beside(&mut self, order: Order) -> Result<WorldId, String> {
        let Order { name, world, template, asked_by, account } = order;
        if self.is_closing {
            return Err("the broker is about to end, and starts nothing any more".into());
        }
        self.check_room()?;
        world.check().map_err(|error| error.to_string())?;
        let sleeps = world.wake == Wake::Message;
        let channel = if sleeps { dormant(world.slice) } else { self.take_channel(world.slice) }?;
        if world.snapshots > 0 {
            self.ensure_store()?;
        }
        let mut entry = Entry::new(self.take_id(), name, Nature::Jailed, channel);
        let id = entry.id;
        entry.adopt(&world).map_err(|error| error.to_string())?;
        self.check_role(&entry.policy)?;
        entry.uid = if self.is_root { self.take_uid()? } else { rustix::process::geteuid().as_raw() };
        (entry.asked_by, entry.account) = (asked_by, account);
        let budget_bytes = world.budget;
        entry.template = template;
        entry.rest = sleeps.then(|| Rest::new(&world));
        entry.world = Some(Rc::new(world));
        self.register(entry, budget_bytes)?;
        Ok(id)
    }

    fn take_channel(&mut self, slice_bytes: u64) -> Result<Channel, String> {
        let size = SliceSize::new(slice_bytes).map_err(|error| error.to_string())?;
        self.spare.take(size).map_err(|error| error.to_string())
    }

    /// Has the launcher start a world's program.
    pub(super) fn start_life(&mut self, id: WorldId) -> Result<(), String> {
        self.leave_lent_uid(id)?;
        let granted = self.begin_granted_paths(id);
        let entry = self.worlds.get(&id).ok_or("it is gone")?;
        let world = entry.world.clone().ok_or("it runs in no jail")?;
        let mut spec = spec(entry, &world, self.is_root).map_err(|error| error.to_string())?;
        // What it reads there is for it alone: no image is made of such a life.
        let is_alone = !granted.is_empty();
        spec.binds.extend(granted);
        // What is granted may lie in what is configured, and the other way round: what is above is there first.
        spec.binds.sort_by_key(|bind| bind.target.components().count());
        let (template, name) = (entry.template.clone(), entry.name.clone());
        let origin = if is_alone { Origin::Started } else { self.origin(template, &world) };
        if let Some(entry) = self.worlds.get_mut(&id) {
            entry.origin = origin.clone();
        }
        let printed = match world.stdio {
            Stdio::Log => {
                Some(self.open_printed(id, &name).map_err(|errno| format!("a pipe for its output: {errno}"))?)
            }
            _ => None,
        };
        let ticket = self.launch(&spec, world.stdio, printed.as_ref(), &origin)?;
        self.launches.insert(ticket, id);
        Ok(())
    }

    fn launch(
        &mut self,
        spec: &Spec,
        stdio: Stdio,
        printed: Option<&[OwnedFd; 2]>,
        origin: &Origin,
    ) -> Result<Ticket, String> {
        let [input, output, error] = self.stdio.each_ref().map(AsFd::as_fd);
        let nothing = self.nothing.as_fd();
        let (stdin, stdout, stderr) = match (stdio, printed) {
            (Stdio::Log, Some([output, error])) => (nothing, output.as_fd(), error.as_fd()),
            (Stdio::Inherit, _) => (input, output, error),
            (Stdio::Output, _) => (nothing, output, error),
            (Stdio::Null | Stdio::Log, _) => (nothing, nothing, nothing),
        };
        let rendezvous = Some(self.rendezvous_inode.as_fd());
        let image = images::of(origin, &self.images, self.restorer.as_ref());
        let fds = Fds { stdin, stdout, stderr, rendezvous };
        let submitted = match image {
            Some(image) => self.launcher.submit_restored(spec, fds, image),
            None => self.launcher.submit(spec, fds),
        };
        submitted.map_err(|error| error.to_string())
    }

    /// The next uid that no running world has: two of one uid could signal each other wherever a namespace doesn't prevent it.
    fn take_uid(&mut self) -> Result<u32, String> {
        let uids = self.config.uids;
        let start = self.next_uid;
        let free = (0..uids.count).map(|step| start.wrapping_add(step) % uids.count).find(|at| {
            let uid = uids.first + at;
            !self.launcher.has_lent(uid) && self.worlds.values().all(|entry| entry.uid != uid)
        });
        let at = free.ok_or_else(|| {
            format!("all {} uids for worlds are in use: give `uids` a larger `count`, or end a world", uids.count)
        })?;
        self.next_uid = at + 1;
        Ok(uids.first + at)
    }

    /// A start that failed in a jail which had waited has left the world's uid to the launcher: the next life has another.
    fn leave_lent_uid(&mut self, id: WorldId) -> Result<(), String> {
        if self.worlds.get(&id).is_some_and(|entry| self.is_root && self.launcher.has_lent(entry.uid)) {
            let uid = self.take_uid()?;
            self.worlds.entry(id).and_modify(|entry| entry.uid = uid);
        }
        Ok(())
    }

    /// Gives the launcher uids for jails that it builds ahead of time: the last ones, a fourth of all at most.
    pub(super) fn lend_uids(&mut self) -> Result<(), String> {
        let Uids { first, count } = self.config.uids;
        let wanted = if self.is_root { SERIES * self.config.seats } else { 0 };
        let mut lent = (first..first + count).rev().take(wanted.min(MAX_LENT).min(count as usize / 4));
        lent.try_for_each(|uid| self.launcher.lend(uid)).map_err(|error| error.to_string())
    }

    pub(super) fn take_launched(&mut self) {
        match self.launcher.hear() {
            Ok(Some((ticket, result))) => {
                if let Some(id) = self.launches.remove(&ticket) {
                    self.take_process(id, result);
                }
                // Who had to wait for one of those that were under way.
                self.wake_due(Instant::now());
            }
            Ok(None) => self.unmatched.retain(|(_, peer)| !has_ended(peer)),
            Err(error) => {
                log(&format!("the launcher is gone: {error}; every world ends"));
                self.is_over = true;
            }
        }
    }

    fn take_process(&mut self, id: WorldId, result: Result<Process, SpawnError>) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        match result {
            Ok(process) => {
                // Otherwise it was told to end before it ran.
                if entry.state == State::Starting {
                    entry.state = State::Running;
                }
                entry.end_by = entry.time.map(|time| Instant::now() + time);
                entry.pid = process.pid();
                entry.uid = process.uid().unwrap_or(entry.uid);
                // One that took over from another version, and won't sleep, has had its start.
                let sleeps = entry.world.as_ref().is_some_and(|world| world.wake == Wake::Message);
                entry.rest.take_if(|_| !sleeps);
                entry.rest.iter_mut().for_each(|rest| rest.is_kept = true);
                let was_killed = entry.was_killed;
                let watched =
                    rustix::event::epoll::add(&self.epoll, process.pidfd(), Token::Process(id).pack(), EventFlags::IN);
                if was_killed || watched.is_err() {
                    let _ = process.kill();
                }
                entry.process = Some(process);
                // First of all: it may wait for that alone.
                self.match_connection(id);
                self.announce("started", id);
                self.answer_if_started(id);
            }
            Err(error) => {
                entry.note = error.to_string();
                self.end_life(id);
            }
        }
    }

    /// Tells who asked for a world that it is there: when its program runs *and* the switch knows it. Before, what the asker sends
    /// to it would come back.
    fn answer_if_started(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        // One that has ended by now did start, and one that sleeps is as it should be.
        let has_started = entry.process.is_some() || entry.exit.is_some() || entry.state == State::Asleep;
        if !entry.is_switched || !has_started {
            return;
        }
        let (before, name) = (entry.before.take(), entry.name.to_string());
        if let Some(asker) = entry.asked_by.take() {
            let answer = match before {
                Some(before) => Answer::Replaced { id: id.0, name, before },
                None => Answer::World { id: id.0, name },
            };
            self.answer(&asker, &answer);
        }
    }

    // --- vouching ---

    /// Takes the connections that jails have made. Each is that of a process the launcher started, or of nobody we know.
    pub(super) fn accept_worlds(&mut self) {
        for _ in 0..MAX_UNMATCHED {
            let Ok(connection) = socket::accept(self.rendezvous.as_fd()) else { return };
            let Ok(peer) = socket::peer(connection.as_fd()) else { continue };
            let id = self.worlds.values().find(|entry| is_of(entry, &peer)).map(|entry| entry.id);
            match id {
                Some(id) => self.take_connection(id, connection),
                None => self.keep_unmatched(connection, peer),
            }
        }
    }

    /// Jails whose program couldn't be started have connected, too: they don't keep others out.
    fn keep_unmatched(&mut self, connection: OwnedFd, peer: Peer) {
        if self.unmatched.len() >= MAX_UNMATCHED {
            self.unmatched.retain(|(_, peer)| !has_ended(peer));
        }
        match self.unmatched.len() >= MAX_UNMATCHED {
            true => log(&format!("a connection of pid {} is of no world and was closed", peer.pid)),
            false => self.unmatched.push((connection, peer)),
        }
    }

    fn match_connection(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get(&id) else { return };
        if let Some(at) = self.unmatched.iter().position(|(_, peer)| is_of(entry, peer)) {
            let (connection, _) = self.unmatched.swap_remove(at);
            self.take_connection(id, connection);
        }
        self.unmatched.retain(|(_, peer)| !has_ended(peer));
    }

    fn take_connection(&mut self, id: WorldId, connection: OwnedFd) {
        if let Some(entry) = self.worlds.get_mut(&id) {
            entry.connection = Some(connection);
            self.welcome_if_ready(id);
        }
    }

    /// The switch has mapped the inbox: from here on nobody else can become its writer.
    pub(super) fn take_attached(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        match entry.channel.inbox.seal_writes() {
            Ok(()) => {
                entry.is_switched = true;
                let decides = entry.policy.role == Some(Role::Control);
                let sleeps = entry.state == State::Asleep;
                self.pass_orders_on();
                if sleeps {
                    self.stand_in(id);
                }
                self.answer_if_started(id);
                self.welcome_if_ready(id);
                if decides {
                    self.put_all();
                }
            }
            Err(error) => self.kill(id, &error.to_string()),
        }
    }

    /// Hands over the slices, once the kernel has vouched for the process and the inbox is sealed.
    pub(super) fn welcome_if_ready(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get(&id) else { return };
        if entry.connection.is_none() || !entry.is_switched || entry.is_welcomed {
            return;
        }
        match self.ask_for_image(id) {
            Asked::Now => self.watch_connection(id),
            Asked::Before => {}
            Asked::Never => self.welcome(id),
        }
    }

    fn welcome(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let Some(connection) = &entry.connection else { return };
        entry.is_welcomed = true;
        if entry.rest.is_some() {
            // What has woken it is no news to it.
            wake::drain_pipe(entry.channel.wakeup());
        }
        let is_watched = entry.is_watched;
        let sent = socket::try_send(connection.as_fd(), &entry.welcome().encode(), &entry.channel.for_world());
        // A program that knows nothing of strait may have closed its end, or ended: that is its right.
        if let Err(errno) = sent
            && !matches!(errno, Errno::PIPE | Errno::CONNRESET)
        {
            self.kill(id, &format!("its slices can't be handed over: {errno}"));
        } else if !is_watched {
            self.watch_connection(id);
        }
    }

    fn watch_connection(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        entry.is_watched = true;
        let Some(connection) = &entry.connection else { return };
        let flags = EventFlags::IN | EventFlags::RDHUP;
        if let Err(errno) = rustix::event::epoll::add(&self.epoll, connection, Token::Connection(id).pack(), flags) {
            self.kill(id, &format!("its connection can't be watched: {errno}"));
        }
    }

    /// A world says that its outbox is mapped and sealed; or its end of the connection is closed.
    pub(super) fn hear_connection(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let Some(connection) = &entry.connection else { return };
        let mut buffer = [0; handshake::MAX_BYTES];
        match socket::try_receive(connection.as_fd(), &mut buffer) {
            Err(Errno::AGAIN) => {}
            Ok((length @ 1.., descriptors)) if matches!(entry.origin, Origin::First { .. }) => {
                self.take_checkpoint(id, &buffer[..length], descriptors);
                self.welcome_if_ready(id);
            }
            Ok((length, _)) if !entry.is_mapped && handshake::is_mapped(&buffer[..length]) => {
                self.take_mapped(id);
            }
            // Anything else is the end of the conversation; descriptors that came with it are closed by now.
            _ => self.end_connection(id),
        }
    }

    fn take_mapped(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        entry.is_mapped = true;
        if entry.state < State::Ready {
            entry.state = State::Ready;
        }
        if let Some(stop) = &mut entry.stop {
            stop.signal_at = None;
        }
        let is_sealed = entry.channel.outbox.is_sealed();
        // Looked at and not made so from here: whoever has the file can keep others from sealing it, but not from looking.
        match is_sealed {
            true => {
                self.take_over(id);
                self.announce("ready", id);
                self.join_pools(id);
            }
            false => self.kill(id, "it says that its outbox is mapped, and has not sealed it"),
        }
    }

    fn end_connection(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        if let Some(connection) = entry.connection.take() {
            let _ = rustix::event::epoll::delete(&self.epoll, &connection);
        }
        if entry.nature != Nature::Jailed {
            self.is_over |= id == self.host;
            self.detach(id);
        }
    }
}

/// Whether the kernel says that a connection was made by this entry's process, with its uid.
fn is_of(entry: &Entry, peer: &Peer) -> bool {
    let same = |process: &Process| socket::same_process(process.pidfd(), peer.pidfd.as_fd()).unwrap_or(false);
    entry.connection.is_none()
        && !entry.is_welcomed
        && peer.uid == entry.uid
        && entry.process.as_ref().is_some_and(same)
}

fn has_ended(peer: &Peer) -> bool {
    let mut end = [PollFd::new(&peer.pidfd, PollFlags::IN)];
    poll(&mut end, Some(&Timespec::default())).is_ok_and(|ended| ended > 0)
}

/// The jail that a world's configuration describes.
fn spec(entry: &Entry, world: &World, is_root: bool) -> Result<Spec, config::ConfigError> {
    let (program, args) = world.command.split_first().ok_or(config::ConfigError::NoCommand)?;
    let mut spec = Spec::new(entry.name.as_str(), program);
    spec.args = args.iter().map(Into::into).collect();
    spec.env.extend(world.env.iter().map(|(key, value)| (key.into(), value.into())));
    spec.dir.clone_from(&world.dir);
    spec.system = world.system;
    spec.profile = world.full_profile();
    spec.uid = is_root.then_some(entry.uid);
    for (grants, access) in [(&world.read, Access::ReadOnly), (&world.write, Access::ReadWrite)] {
        for grant in grants {
            let (source, target) = config::grant_paths(grant)?;
            spec.binds.push(Bind { source, target, access, follows_links: true });
        }
    }
    let limits = &mut spec.limits;
    limits.memory_bytes = world.limits.memory.or(limits.memory_bytes);
    limits.cpu_permille = world.limits.cpu.or(limits.cpu_permille);
    limits.pids = world.limits.pids.or(limits.pids);
    limits.open_files = world.limits.files.or(limits.open_files);
    limits.processes = world.limits.processes.or(limits.processes);
    limits.address_space_bytes = world.limits.address_space.or(limits.address_space_bytes);
    limits.tmp_bytes = world.limits.tmp.unwrap_or(limits.tmp_bytes);
    Ok(spec)
}
