//! Fidelity: Stripe's official Python SDK is the client.
//!
//! The SDK is installed from the package registry into this test's folder. Where there is no Python
//! or no registry the test passes without having looked, unless `CONCHE_TEST_SDK` was set when it
//! was built.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use stripe_sim::{Simulator, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
    sync::mpsc,
};

/// The version that was looked at.
const SDK: &str = "stripe==16.1.0";

#[tokio::test]
async fn the_official_sdk_takes_the_simulator_for_stripe() {
    let Some(python) = python_with_sdk().await else {
        let required = option_env!("CONCHE_TEST_SDK").is_some();
        assert!(!required, "Stripe's SDK could not be installed");
        return;
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let served = serve(address, Simulator::default(), None).await.unwrap();
    let (hooks, mut received) = receiver().await;
    let mut script = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk.py"))
        .args([served.url(), hooks])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = script.stdin.take().unwrap();
    let mut complaints = String::new();
    let mut stderr = script.stderr.take().unwrap();
    tokio::select! {
        delivery = received.recv() => {
            stdin.write_all(format!("{}\n", delivery.unwrap()).as_bytes()).await.unwrap();
        }
        read = stderr.read_to_string(&mut complaints) => { read.unwrap(); }
    }
    drop(stdin);
    stderr.read_to_string(&mut complaints).await.unwrap();
    let output = script.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{complaints}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ok\n");
}

/// An address that takes webhooks, and what it was sent, as JSON.
async fn receiver() -> (String, mpsc::UnboundedReceiver<String>) {
    let (send, received) = mpsc::unbounded_channel();
    let take = async |State(send): State<mpsc::UnboundedSender<String>>,
                      headers: HeaderMap,
                      body: String| {
        let signature = headers["stripe-signature"].to_str().unwrap();
        let delivery = serde_json::json!({ "body": body, "signature": signature });
        send.send(delivery.to_string()).unwrap();
    };
    let router = Router::new().route("/hooks", post(take)).with_state(send);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, received)
}

/// A Python that has the SDK; none if there is no Python, or no registry.
async fn python_with_sdk() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SDK);
    let python = folder.join("bin/python");
    if !has_sdk(&python).await {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).await?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", SDK])).await?;
    }
    has_sdk(&python).await.then_some(python)
}

async fn has_sdk(python: &Path) -> bool {
    run(Command::new(python).args(["-c", "import stripe"])).await.is_some()
}

async fn run(command: &mut Command) -> Option<()> {
    let output = command.output().await.ok()?;
    output.status.success().then_some(())
}
