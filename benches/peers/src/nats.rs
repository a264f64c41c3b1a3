//! NATS: Debian's server, the project's own client on a runtime of one thread.

use crate::server;
use async_nats::{Client, ConnectOptions, Subject, Subscriber};
use futures_util::StreamExt;
use std::fs;
use std::path::Path;
use strait_measure::{End, Kind, Message, Outcome, Peer, Seat, patiently, run_server};
use tokio::runtime::{Builder, Runtime};

const CONFIG: &str = "\
host: 127.0.0.1
port: -1
max_payload: 8MB
max_pending: 256MB
";

pub struct Nats;

pub struct NatsEnd {
    // Before the runtime, without which they can't be dropped.
    client: Client,
    incoming: Subscriber,
    to: Subject,
    runtime: Runtime,
}

/// One party's subject; a receiver's subjects of a fan-out are one for all.
fn subject(seat: &Seat, index: usize) -> String {
    match seat.load.kind == Kind::FanOut && index > 0 {
        true => "bench.all".into(),
        false => format!("bench.{index}"),
    }
}

/// The port that the server took, which it says in a file.
fn port(dir: &Path) -> Outcome<String> {
    let is_it = |path: &Path| path.extension().is_some_and(|extension| extension == "ports");
    let file = fs::read_dir(dir)?.flatten().map(|entry| entry.path()).find(|path| is_it(path));
    let said: serde_json::Value = serde_json::from_str(&fs::read_to_string(file.ok_or("no port yet")?)?)?;
    Ok(said["nats"][0].as_str().ok_or("the server says no address")?.to_owned())
}

impl Peer for Nats {
    const NAME: &str = "nats";
    const HAS_SERVER: bool = true;
    type End = NatsEnd;

    fn missing() -> Option<String> {
        server::missing("nats-server", "nats-server")
    }

    fn serve(dir: &Path) -> Outcome<()> {
        let config = dir.join("nats.conf");
        fs::write(&config, CONFIG)?;
        run_server(server::command("nats-server").arg("--config").arg(config).arg("--ports_file_dir").arg(dir))
    }

    fn open(seat: &Seat) -> Outcome<NatsEnd> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let address = patiently(|| port(&seat.dir))?;
        let to = subject(seat, seat.others()[0]).into();
        let (client, incoming) = runtime.block_on(async {
            let client = ConnectOptions::new().subscription_capacity(1 << 20).connect(address).await?;
            let incoming = client.subscribe(subject(seat, seat.index)).await?;
            client.flush().await?;
            Outcome::Ok((client, incoming))
        })?;
        Ok(NatsEnd { client, incoming, to, runtime })
    }
}

impl End for NatsEnd {
    fn needs_credit(_: Kind) -> bool {
        true
    }

    fn send(&mut self, message: Message) -> Outcome<()> {
        let mut payload = vec![0; message.bytes];
        message.write(&mut payload);
        self.runtime.block_on(self.client.publish(self.to.clone(), payload.into()))?;
        Ok(())
    }

    fn flush(&mut self) -> Outcome<()> {
        Ok(self.runtime.block_on(self.client.flush())?)
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let message = self.runtime.block_on(self.incoming.next()).ok_or("the server is gone")?;
        read(&message.payload)
    }
}
