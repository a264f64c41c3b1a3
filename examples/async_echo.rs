//! An echo world on tokio: each request has a task of its own, so that a slow answer keeps no other waiting.
//!
//! ```sh
//! cargo build --release -p strait-examples --example async_echo
//! strait run --read target/release/examples/async_echo:/echo -- /echo
//! ```

use std::time::Duration;
use strait_client::{Arrived, AsyncClient, Client, Error, Kind};

async fn answer(client: AsyncClient, request: Arrived) -> Result<u64, Error> {
    tokio::task::yield_now().await;
    client.reply(&request.header, 0, &request.payload).await
}

/// Echoes until it is told to end.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Error> {
    let client = Client::open()?.into_async()?;
    loop {
        let record = client.receive().await?;
        if let Some(notice) = record.control_notice().filter(|notice| notice.ends()) {
            client.reply(&record.header, 0, b"").await?;
            // Told to end: what is left of the time is for what was begun.
            eprintln!("echo: ending within {:?}: {}", notice.deadline.min(Duration::from_secs(1)), notice.reason);
            return Ok(());
        }
        if record.header.kind == Kind::Request {
            tokio::spawn(answer(client.clone(), record));
        }
    }
}
