//! The simulator as a program.

use std::net::SocketAddr;

use clap::Parser;
use stripe_sim::{Faults, Simulator, serve};

/// A Stripe that pretends, for development without a network. No money moves.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:12111")]
    listen: SocketAddr,
    /// Everything goes wrong now and then, in an order that follows from this seed.
    #[arg(long)]
    faults: Option<u64>,
    /// Sends the webhooks of this account to the address of `--webhook-url`.
    #[arg(long, default_value = "sk_test_demo")]
    secret_key: String,
    /// Where webhooks go, such as the address that `conche payments connect` prints.
    #[arg(long)]
    webhook_url: Option<String>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let mut simulator = Simulator::default();
    if let Some(seed) = arguments.faults {
        simulator.set_faults(&Faults::all(seed));
    }
    let served = serve(arguments.listen, simulator, None).await?;
    greet(&served.url(), &arguments.secret_key);
    if let Some(url) = &arguments.webhook_url {
        let secret =
            served.with(|simulator, now| simulator.endpoint(&arguments.secret_key, url, now));
        let secret = secret.ok_or_else(|| std::io::Error::other("keys begin with sk_test_"))?;
        tell(&format!("Webhooks go to {url}, signed with {secret}"));
    }
    tokio::select! {
        () = served.ended() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

fn greet(url: &str, secret_key: &str) {
    tell(&format!("Stripe pretends at {url}; no money moves. Any key sk_test_NAME is an account."));
    tell(&format!("  secret key          {secret_key}"));
    tell(&format!("  publishable key     {}", secret_key.replacen("sk_", "pk_", 1)));
    tell(
        "  payment methods     pm_card_visa, pm_card_visa_chargeDeclined, pm_card_authenticationRequired,",
    );
    tell("                      pm_card_refundFail, pm_usBankAccount_success; more in methods.rs");
    tell(&format!("  what really is      curl {url}/_truth"));
    tell(&format!(
        "  3-D Secure          curl {url}/_authenticate --json '{{\"payment_intent\":\"pi_…\",\"passes\":true}}'"
    ));
}

#[expect(clippy::print_stdout, reason = "a program for people at a terminal")]
fn tell(line: &str) {
    println!("{line}");
}
