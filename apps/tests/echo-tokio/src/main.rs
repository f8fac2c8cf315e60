// SPDX-License-Identifier: MIT OR Apache-2.0

//! A server on tokio that sends back what it gets: `echo-tokio ADDRESS CONNECTIONS`. Ends after so many.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

async fn serve(mut stream: TcpStream) -> std::io::Result<u64> {
    stream.set_nodelay(true)?;
    let mut bytes = vec![0; 1 << 16];
    let mut total = 0;
    loop {
        let got = stream.read(&mut bytes).await?;
        if got == 0 {
            return Ok(total);
        }
        stream.write_all(&bytes[..got]).await?;
        total += got as u64;
    }
}

fn main() -> std::io::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "[::]:7".into());
    let count = args.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let listener = TcpListener::bind(address).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (stream, _) = listener.accept().await?;
        tasks.spawn(serve(stream));
    }
    let mut total = 0;
    for bytes in tasks.join_all().await {
        total += bytes?;
    }
    println!("{total} bytes in {count} connections");
    Ok(())
}
