//! `hearth id`: the name of a data directory's server, made on the first call.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use hearth_core::types::LocalServer;
use hearth_p2p::{contact, identity, node};

use crate::run::contact_user;

#[derive(Debug, Args)]
pub(crate) struct IdArguments {
    /// Where the key lies, or will.
    #[arg(long, value_name = "DIR", default_value = "hearth-data")]
    data: PathBuf,
    /// Your name, for the contact.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn id(arguments: &IdArguments) -> Result<()> {
    let data = &arguments.data;
    std::fs::create_dir_all(data).with_context(|| format!("cannot use the data directory {}", data.display()))?;
    let (secret, _) = identity::load_or_create(&node::key_path(data))?;
    let local = LocalServer::new(&secret);
    let user = contact_user(arguments.name.as_deref(), &local.name)?;
    let uri = contact::contact_uri(&user, &[]);
    if arguments.json {
        println!("{}", serde_json::json!({ "server_name": local.name, "contact": uri }));
    } else {
        println!("server name: {}", local.name);
        println!("contact: {uri}");
        println!("{}", contact::qr_text(&uri).context("no QR code of the contact")?);
    }
    Ok(())
}
