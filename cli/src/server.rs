//! Which server the verbs speak to, and what is said when that does not work.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use client::ClientError;
use client::blocking::Client;
use lifecycle::{Settings, SettingsError, exit};
use security::Shown;

/// The options that every verb has which speaks to a server.
#[derive(Args)]
pub(crate) struct Server {
    /// Where the server listens; without it FLEETGAUGE_SERVER, without that 127.0.0.1:8888.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    server: Option<String>,
    /// How long to wait for a connection, and for an answer in which nothing moves.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// File whose first line is the token to show; without it FLEETGAUGE_TOKEN_FILE or FLEETGAUGE_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Speak TLS to the server, as FLEETGAUGE_TLS=on does.
    #[arg(long)]
    tls: bool,
    /// PEM file with the CAs that the server's certificate may come from; with it --tls. Without it
    /// FLEETGAUGE_TLS_CA_FILE, without that those of the system.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

/// A server that was chosen.
pub(crate) struct Target {
    pub(crate) address: String,
    pub(crate) server: client::Server,
    pub(crate) timeout: Duration,
}

impl Server {
    /// The server to speak to. Wrong settings are said here.
    pub(crate) fn resolve(&self) -> Result<Target, ExitCode> {
        let wrong = |error: SettingsError| exit::because(exit::SETTINGS, error);
        // Read in any case: a name that is misspelt is never passed over.
        let mut settings = Settings::from_environment().map_err(wrong)?;
        if self.tls || self.tls_ca.is_some() {
            settings = settings.with("FLEETGAUGE_TLS", "on");
        }
        if let Some(ca) = &self.tls_ca {
            settings = settings.with("FLEETGAUGE_TLS_CA_FILE", &ca.to_string_lossy());
        }
        let address = self.address(&settings).map_err(wrong)?;
        let mut server = client::Server::new(&*address);
        let shown = match &self.token_file {
            Some(path) => Shown::File(path.clone()),
            None => security::settings::shown(&settings).map_err(wrong)?,
        };
        let unusable = |why: String| exit::because(exit::SETTINGS, why);
        let of_file = if self.token_file.is_some() { "--token-file" } else { "FLEETGAUGE_TOKEN_FILE" };
        if let Some(token) = shown.read().map_err(|why| unusable(format!("{of_file}: {why}")))? {
            server = server.with_token(token);
        }
        if let Some(tls) = security::settings::client(&settings).map_err(wrong)? {
            server = server.with_tls(tls.load().map_err(|bad| unusable(bad.to_string()))?);
        }
        Ok(Target { address, server, timeout: self.timeout })
    }

    fn address(&self, settings: &Settings) -> Result<String, SettingsError> {
        const NAME: &str = "FLEETGAUGE_SERVER";
        match &self.server {
            Some(address) => Ok(address.clone()),
            None => host_and_port(&settings.text(NAME)?).map_err(|why| settings.bad(NAME, &why)),
        }
    }
}

impl Target {
    /// Connects; what is wrong is said here.
    pub(crate) fn connect(&self) -> Result<Client, ExitCode> {
        Client::connect(self.server.clone(), self.timeout).map_err(|error| self.failed(&error))
    }

    /// Says what happened, where, and what to do about it; gives the code to end with.
    pub(crate) fn failed(&self, error: &ClientError) -> ExitCode {
        let (code, sentence) = self.explain(error);
        exit::because(code, sentence)
    }

    /// The same, without saying it.
    pub(crate) fn explain(&self, error: &ClientError) -> (u8, String) {
        let address = &self.address;
        let code = match error {
            ClientError::Error(_) | ClientError::Token(_) | ClientError::Protocol(_) | ClientError::TooMuch(_) => {
                exit::FAILED
            }
            ClientError::Timeout(_) | ClientError::Lost(_) | ClientError::Connect { .. } => exit::UNREACHABLE,
            ClientError::Key(_) => exit::USAGE,
        };
        let sentence = match error {
            ClientError::Connect { .. } => format!(
                "{error}; does an aggregator run there? --server HOST:PORT or FLEETGAUGE_SERVER names another address"
            ),
            ClientError::Timeout(_) => format!("{address}: {error}; --timeout 1m waits longer"),
            ClientError::Protocol(_) => {
                format!("{address}: {error}; is this the port of put and get (8888 unless it was set otherwise)?")
            }
            ClientError::Lost(_) => format!("{address}: {error}; is it being restarted?"),
            ClientError::Key(_) => error.to_string(),
            ClientError::Error(text) if text == "unauthorized" => {
                format!(
                    "{address}: this server wants a token: --token-file FILE, FLEETGAUGE_TOKEN_FILE or FLEETGAUGE_TOKEN"
                )
            }
            ClientError::Error(_) | ClientError::Token(_) | ClientError::TooMuch(_) => format!("{address}: {error}"),
        };
        (code, sentence)
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let is_one = |(host, port): (&str, &str)| {
        !host.is_empty() && !host.contains(['/', '@']) && port.parse().is_ok_and(|port: u16| port != 0)
    };
    if text.rsplit_once(':').is_some_and(is_one) {
        return Ok(text.to_owned());
    }
    Err("accepted: a host and a port such as aggregator:8888 or [::1]:8888, without http://".to_owned())
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = lifecycle::duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "accepted: a duration such as 250ms, 5s or 1m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:8888", "aggregator:1", "[::1]:8888"] {
            assert_eq!(host_and_port(good).unwrap(), good);
        }
        for bad in [
            "",
            "aggregator",
            ":8888",
            "aggregator:",
            "aggregator:0",
            "aggregator:88888",
            "http://x",
            "http://x:8888",
            "u@x:8888",
        ] {
            host_and_port(bad).unwrap_err();
        }
    }

    #[test]
    fn timeouts() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        duration("0s").unwrap_err();
        duration("soon").unwrap_err();
    }
}
