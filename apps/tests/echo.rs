// SPDX-License-Identifier: MIT OR Apache-2.0

//! A server that sends back what it gets: `echo-rust ADDRESS CONNECTIONS`, one thread for each. Ends after so many.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "[::]:7".into());
    let count = args.next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let listener = TcpListener::bind(address)?;
    let mut threads = Vec::new();
    for _ in 0..count {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        threads.push(thread::spawn(move || -> std::io::Result<u64> {
            let mut bytes = vec![0; 1 << 16];
            let mut total = 0;
            loop {
                let got = stream.read(&mut bytes)?;
                if got == 0 {
                    return Ok(total);
                }
                stream.write_all(&bytes[..got])?;
                total += got as u64;
            }
        }));
    }
    let mut total = 0;
    for thread in threads {
        total += thread.join().expect("it does not panic")?;
    }
    println!("{total} bytes in {count} connections");
    Ok(())
}
