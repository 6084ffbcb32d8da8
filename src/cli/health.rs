//! `mega-pipeline health`: whether the server of this configuration answers; for containers.

use std::time::Duration;

use clap::Args;

use crate::error::AppError;
use crate::settings::Settings;

/// A server that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// Arguments of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Ask whether the models are loaded as well
    #[arg(long)]
    ready: bool,
}

/// Asks the server once.
///
/// # Errors
/// When it does not answer, or answers that it is not well.
pub fn run(args: &HealthArgs, settings: &Settings) -> Result<(), AppError> {
    let mut address = settings.listen;
    if address.ip().is_unspecified() {
        // Listening everywhere includes this machine.
        address.set_ip(match address.ip() {
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let path = if args.ready { "readyz" } else { "healthz" };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}/{path}");
    let answer = super::runtime()?.block_on(async {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            // The certificate is for other names; this asks whether anything answers here.
            .danger_accept_invalid_certs(true)
            .build()?;
        client.get(&url).send().await
    });
    match answer {
        Ok(answer) if answer.status().is_success() => {
            println!("ok");
            Ok(())
        }
        Ok(answer) => Err(AppError::Other(format!("{url} answers {}", answer.status()))),
        Err(error) => Err(AppError::Other(format!("{url} does not answer: {error}"))),
    }
}
