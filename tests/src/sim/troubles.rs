//! What befalls phones and their network: partitions, loss, empty batteries, wrong clocks.

use std::time::Duration;

use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use super::{World, net::Weather};

/// The longest pause between two troubles, in ms.
const PAUSE_MS_MAX: u64 = 8_000;

/// Troubles, for ever.
pub async fn trouble(world: &World, mut random: ChaCha8Rng) {
    loop {
        sleep(Duration::from_millis(random.random_range(200..PAUSE_MS_MAX))).await;
        let phone = &world.phones[random.random_range(0..world.phones.len())];
        match random.random_range(0..100) {
            0..20 => world.net.partition(&groups(world.phones.len(), &mut random)),
            20..35 => world.net.heal(),
            35..50 => {
                let other = random.random_range(0..world.phones.len());
                world.net.cut(phone.number, other);
            }
            50..65 => phone.kill(),
            65..72 => phone.stop().await,
            72..82 => phone.start(),
            82..92 => world.net.set_weather(weather(&mut random)),
            92..96 => phone.clock.set_skew(random.random_range(-3_600_000..3_600_000)),
            // An afternoon of quiet: histories grow apart, queues grow long, pauses between tries too.
            _ => sleep(Duration::from_secs(random.random_range(10..60))).await,
        }
        // A phone that is off for good hides more than it shows.
        if let Some(phone) = world.phones.iter().find(|phone| phone.server().is_none())
            && random.random_bool(0.5)
        {
            phone.start();
        }
    }
}

/// The phones in two or three groups.
fn groups(count: usize, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut numbers: Vec<usize> = (0..count).collect();
    numbers.shuffle(random);
    let parts = random.random_range(2..=3);
    numbers.chunks(count.div_ceil(parts).max(1)).map(<[usize]>::to_vec).collect()
}

fn weather(random: &mut ChaCha8Rng) -> Weather {
    let slowest = *[20, 200, 2_000].get(random.random_range(0..3)).unwrap_or(&20);
    Weather {
        latency_ms: (1, slowest),
        requests_lost: random.random_range(0..30),
        answers_lost: random.random_range(0..30),
    }
}
