//! A wire between the engine and PostgreSQL that can be cut at the worst moment.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes in an append that make the proxy look at its scissors.
pub(crate) const MARK: &str = "cut here";

const WHOLE: u8 = 0;
const BEFORE: u8 = 1;
const AFTER: u8 = 2;
const SILENT: u8 = 3;

#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    scissors: Arc<AtomicU8>,
}

impl Proxy {
    pub(crate) async fn start(server: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Proxy { port, scissors: Arc::new(AtomicU8::new(WHOLE)) };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(serving.clone().wire(client, server));
            }
        });
        proxy
    }

    /// The next marked append is lost before the server sees it.
    pub(crate) fn cut_before(&self) {
        self.scissors.store(BEFORE, Ordering::SeqCst);
    }

    /// The next marked append is carried out, and its answer is lost.
    pub(crate) fn cut_after(&self) {
        self.scissors.store(AFTER, Ordering::SeqCst);
    }

    /// The next marked append is lost, and nobody is told: as when a cable is pulled.
    pub(crate) fn fall_silent(&self) {
        self.scissors.store(SILENT, Ordering::SeqCst);
    }

    pub(crate) fn was_used(&self) -> bool {
        self.scissors.load(Ordering::SeqCst) == WHOLE
    }

    /// Ends, and with it both connections, when it cuts.
    async fn wire(self, mut client: TcpStream, mut server: TcpStream) {
        let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let Ok(bytes @ 1..) = read else { return };
                    let asked = &asked[..bytes];
                    let marked = asked.windows(MARK.len()).any(|part| part == MARK.as_bytes());
                    let cut = if marked { self.scissors.swap(WHOLE, Ordering::SeqCst) } else { WHOLE };
                    if cut == BEFORE {
                        return;
                    }
                    if cut == SILENT {
                        pending::<()>().await;
                    }
                    server.write_all(asked).await.unwrap();
                    if cut == AFTER {
                        let _answer = server.read(&mut answered).await;
                        return;
                    }
                }
                read = server.read(&mut answered) => {
                    let Ok(bytes @ 1..) = read else { return };
                    if client.write_all(&answered[..bytes]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
