//! A million inputs that nobody wrote, read by all versions: no panic, no hang, nothing consumed that was not there.

use crate::codec::{Decoder, FrameLimits, Version};
use tidegate_testkit::random::Random;

const SEED: u64 = 0x5354_4f4d_5031_3200;
const INPUTS: usize = 1_000_000;

const LIMITS: FrameLimits =
    FrameLimits { head_bytes: 200, header_line_bytes: 60, headers: 6, body_bytes: 100 };

/// Pieces that look like STOMP, so that more than the first line is reached.
const PIECES: [&[u8]; 16] = [
    b"SEND\n",
    b"CONNECT\r\n",
    b"MESSAGE\n",
    b"ACK\n",
    b"destination:/topic/a\n",
    b"content-length:3\n",
    b"content-length:",
    b"\n",
    b"\r\n",
    b"\0",
    b"\\c",
    b"\\",
    b":",
    b"abc",
    b"\xff",
    b"a:b\n\n\0",
];

/// [STOMP-1.2/STOMP Frames]
#[test]
fn a_million_random_inputs_are_survived() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    let (mut input, mut frames, mut errors) = (Vec::new(), 0_usize, 0_usize);
    for _ in 0..INPUTS {
        input.clear();
        if random.one_in(2) {
            input.extend_from_slice(random.pick::<&[u8]>(&PIECES[..4]));
        }
        for _ in 0..random.below(8) {
            match random.one_in(10) {
                true => input.push(random.byte()),
                false => input.extend_from_slice(random.pick::<&[u8]>(&PIECES)),
            }
        }
        let split = random.below(input.len());
        let mut decoder = Decoder::new(*random.pick(&Version::ALL), LIMITS);
        let mut taken = 0;
        for end in [split, input.len()] {
            match decode_all(&mut decoder, &input[..end], &mut taken) {
                Ok(count) => frames += count,
                Err(()) => {
                    errors += 1;
                    break;
                }
            }
        }
    }
    assert!(frames > INPUTS / 100 && errors > INPUTS / 100, "{frames} frames, {errors} errors");
}

fn decode_all(decoder: &mut Decoder, input: &[u8], taken: &mut usize) -> Result<usize, ()> {
    let mut frames = 0;
    loop {
        let decoded = decoder.decode(&input[*taken..]).map_err(|_| ())?;
        *taken += decoded.consumed;
        assert!(*taken <= input.len());
        if decoded.frame.is_none() {
            return Ok(frames);
        }
        frames += 1;
    }
}
