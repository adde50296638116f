//! What happens in the demonstration, step by step. Each step checks what it shows.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::json;

use super::{
    phone::{Line, Phone, text},
    report::Report,
};

/// How long the phones may look for each other by mDNS before the demonstration goes on with addresses.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(8);

/// The three of them.
struct Cast {
    ana: Phone,
    ben: Phone,
    chi: Phone,
}

pub(super) async fn tell(data: &Path, report: &mut Report) -> Result<()> {
    let mut cast = meet(data, report).await?;
    let room = gather(&mut cast, report).await?;
    let mut said = chat(&mut cast, &room, report).await?;
    lose_ben(&mut cast, &room, &mut said, report).await?;
    cut_off_chi(&mut cast, &room, &mut said, report).await?;
    leave_ana(&mut cast, &room, &mut said, report).await
}

async fn meet(data: &Path, report: &mut Report) -> Result<Cast> {
    let ana = Phone::start(data, "ana", &[]).await?;
    let ben = Phone::start(data, "ben", &[]).await?;
    let chi = Phone::start(data, "chi", &[]).await?;
    report.step("three phones start, each with a homeserver and an empty disk");
    let mut cast = Cast { ana, ben, chi };
    if cast.found(DISCOVERY_PATIENCE).await? {
        report.step("they find each other by mDNS, without an address given");
        return Ok(cast);
    }
    report.note("this machine's loopback interface carries no multicast: going on with addresses");
    let known = cast.ana.addresses().await?;
    drop(cast);
    let data = data.join("with-addresses");
    std::fs::create_dir_all(&data).context("cannot make a data directory")?;
    let hub = Phone::start(&data, "ana", &known).await;
    let ana = hub?;
    let first = ana.addresses().await?;
    let ben = Phone::start(&data, "ben", &first).await?;
    let both: Vec<String> = first.into_iter().chain(ben.addresses().await?).collect();
    let chi = Phone::start(&data, "chi", &both).await?;
    cast = Cast { ana, ben, chi };
    ensure!(cast.found(DISCOVERY_PATIENCE).await?, "the phones did not connect by address either");
    report.step("they connect by address");
    Ok(cast)
}

async fn gather(cast: &mut Cast, report: &mut Report) -> Result<String> {
    let Cast { ana, ben, chi } = cast;
    let body = json!({ "preset": "trusted_private_chat", "name": "Shelter", "invite": [ben.user, chi.user] });
    let answer = ana.ask(Method::POST, "/_matrix/client/v3/createRoom", Some(&body)).await?;
    let room = text(&answer, "/room_id")?;
    report.step("ana makes a room and invites ben and chi");
    for phone in [&mut *ben, &mut *chi] {
        phone.invited(&room).await?;
        phone.ask(Method::POST, &format!("/_matrix/client/v3/join/{room}"), Some(&json!({}))).await?;
    }
    report.step("they join over the mesh");
    Ok(room)
}

async fn chat(cast: &mut Cast, room: &str, report: &mut Report) -> Result<Vec<String>> {
    let mut said = vec![cast.ana.say(room, "Is everybody all right?").await?];
    cast.all_have(room, &said).await?;
    said.push(cast.ben.say(room, "All fine at the school.").await?);
    cast.all_have(room, &said).await?;
    said.push(cast.chi.say(room, "Two of us are at the bridge.").await?);
    cast.all_have(room, &said).await?;
    report.step("they chat, and each sees what all said");
    Ok(said)
}

async fn lose_ben(cast: &mut Cast, room: &str, said: &mut Vec<String>, report: &mut Report) -> Result<()> {
    cast.ben.kill().await?;
    report.step("ben's phone dies without warning (SIGKILL)");
    let Cast { ana, ben, chi } = cast;
    said.push(ana.say(room, "The water truck comes at noon.").await?);
    chi.has(room, said).await?;
    said.push(chi.say(room, "We bring the canisters.").await?);
    ana.has(room, said).await?;
    chi.has(room, said).await?;
    report.step("the others talk on");
    ben.restart().await?;
    ben.has(room, said).await?;
    report.step("ben's phone comes back and has caught up");
    Ok(())
}

async fn cut_off_chi(cast: &mut Cast, room: &str, said: &mut Vec<String>, report: &mut Report) -> Result<()> {
    let Cast { ana, ben, chi } = cast;
    chi.offline(true).await?;
    said.push(chi.say(room, "No signal here. The bridge is open again.").await?);
    said.push(chi.set_topic(room, "Bridge open").await?);
    said.push(ana.say(room, "Chi, can you hear us?").await?);
    said.push(ben.say(room, "She is out of range.").await?);
    ana.has(room, said.get(said.len() - 2..).unwrap_or_default()).await?;
    let alone = chi.timeline(room).await?;
    ensure!(said.last().is_some_and(|id| alone.iter().all(|line| line.id != *id)), "chi was not cut off");
    report.step("chi is cut off, and writes while alone; so do the others");
    chi.offline(false).await?;
    cast.all_have(room, said).await?;
    report.step("chi is back in range, and the histories merge");
    Ok(())
}

async fn leave_ana(cast: &mut Cast, room: &str, said: &mut Vec<String>, report: &mut Report) -> Result<()> {
    let Cast { ana, ben, chi } = cast;
    said.push(ana.say(room, "My shift is over. Good night!").await?);
    ana.ask(Method::POST, &format!("/_matrix/client/v3/rooms/{room}/leave"), Some(&json!({}))).await?;
    let leave = ana.timeline(room).await?.last().map(|line| line.id.clone()).context("ana's timeline is empty")?;
    ben.has(room, std::slice::from_ref(&leave)).await?;
    chi.has(room, std::slice::from_ref(&leave)).await?;
    let states = [ana.state(room).await?, ben.state(room).await?, chi.state(room).await?];
    report.check("the same state on all three when ana leaves", same(&states));
    said.push(ben.say(room, "Good night, ana.").await?);
    said.push(chi.say(room, "The room is yours and mine now, ben.").await?);
    ben.has(room, said).await?;
    chi.has(room, said).await?;
    report.step("ana leaves, and the room lives on");
    let timelines = [ana.timeline(room).await?, ben.timeline(room).await?, chi.timeline(room).await?];
    let [ours, bens, chis] = &timelines;
    let until = |lines: &[Line]| -> Vec<Line> {
        let end = lines.iter().position(|line| line.id == leave).map_or(lines.len(), |index| index + 1);
        lines.get(..end).unwrap_or(lines).to_vec()
    };
    report.check(
        "the same events on all three until ana leaves",
        same(&[sorted(ours), sorted(&until(bens)), sorted(&until(chis))]),
    );
    report.check("the same events on ben's and chi's at the end", same(&[sorted(bens), sorted(chis)]));
    report.check("nothing that was said is missing", said.iter().all(|id| bens.iter().any(|line| line.id == *id)));
    let once = |lines: &[Line]| sorted(lines).windows(2).all(|pair| pair.first() != pair.last());
    report.check("nothing is there twice", timelines.iter().all(|lines| once(lines)));
    let states = [ben.state(room).await?, chi.state(room).await?];
    report.check("the same state on ben's and chi's at the end", same(&states));
    report.column("ana", ours, &ana.state(room).await?);
    report.column("ben", bens, states.first().map_or(&[], Vec::as_slice));
    report.column("chi", chis, states.last().map_or(&[], Vec::as_slice));
    Ok(())
}

impl Cast {
    async fn found(&self, patience: Duration) -> Result<bool> {
        let (a, b, c) = (self.ana.server.as_str(), self.ben.server.as_str(), self.chi.server.as_str());
        Ok(self.ana.sees(&[b, c], patience).await?
            && self.ben.sees(&[a, c], patience).await?
            && self.chi.sees(&[a, b], patience).await?)
    }

    async fn all_have(&self, room: &str, events: &[String]) -> Result<()> {
        for phone in [&self.ana, &self.ben, &self.chi] {
            phone.has(room, events).await?;
        }
        Ok(())
    }
}

fn sorted(lines: &[Line]) -> Vec<String> {
    let mut ids: Vec<String> = lines.iter().map(|line| line.id.clone()).collect();
    ids.sort();
    ids
}

fn same<T: PartialEq>(values: &[T]) -> bool {
    values.windows(2).all(|pair| pair.first() == pair.last())
}
