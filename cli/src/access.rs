//! What the verbs show, and whom they believe: the token, and TLS. The environment says it, and
//! options go before it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lifecycle::{Settings, SettingsError, exit};
use security::{Connector, Secret, Shown};

/// The setting that says whether TLS is spoken.
pub(crate) const TLS: &str = "FLEETGAUGE_TLS";
/// What gives a token, for sentences that say what to do.
pub(crate) const GIVES_TOKEN: &str = "--token-file FILE, FLEETGAUGE_TOKEN_FILE or FLEETGAUGE_TOKEN";

/// The options that every verb has which asks somebody.
#[derive(Args, Default)]
pub(crate) struct Access {
    /// File whose first line is the token to show; without it FLEETGAUGE_TOKEN_FILE or FLEETGAUGE_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the CAs that the server's certificate may come from, and TLS with it. Without it
    /// FLEETGAUGE_TLS_CA_FILE, without that those of the system.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
}

impl Access {
    /// What the environment says and the options change. It is read in any case: a name that is
    /// misspelt is never passed over.
    pub(crate) fn settings(&self) -> Result<Settings, ExitCode> {
        let settings = Settings::from_environment().map_err(wrong)?;
        Ok(match &self.tls_ca {
            Some(ca) => settings.with(TLS, "on").with("FLEETGAUGE_TLS_CA_FILE", &ca.to_string_lossy()),
            None => settings,
        })
    }

    /// The token to show, if there is one.
    pub(crate) fn token(&self, settings: &Settings) -> Result<Option<Secret>, ExitCode> {
        let shown = match &self.token_file {
            Some(path) => Shown::File(path.clone()),
            None => security::settings::shown(settings).map_err(wrong)?,
        };
        let of_file = if self.token_file.is_some() { "--token-file" } else { "FLEETGAUGE_TOKEN_FILE" };
        shown.read().map_err(|why| exit::because(exit::SETTINGS, format!("{of_file}: {why}")))
    }
}

/// How TLS is spoken; `None`: it is not.
pub(crate) fn connector(settings: &Settings) -> Result<Option<Connector>, ExitCode> {
    let tls = security::settings::client(settings).map_err(wrong)?;
    tls.map(|tls| tls.load()).transpose().map_err(|why| exit::because(exit::SETTINGS, why))
}

/// Says which setting is wrong; gives the code to end with.
pub(crate) fn wrong(error: SettingsError) -> ExitCode {
    exit::because(exit::SETTINGS, error)
}
