//! Unary gRPC calls in bare HTTP/2 frames, of which a generator makes a call for a few microseconds.
//!
//! Client of a library costs as much as the services that it is to measure, and on this machine takes it from them. Here every call
//! has the same headers, so that they are six bytes, and of an answer only the frames and the first field are read. That is
//! enough to know it: an error has no message. RFC 9113 has the frames, RFC 7541 the headers' bytes.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use foldhash::fast::RandomState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};

use crate::closed::Work;

/// Calls of one connection.
pub(super) struct Calls {
    pub(super) address: SocketAddr,
    /// `/package.Service/Method`.
    pub(super) path: &'static str,
    /// Messages, which take turns.
    pub(super) messages: Arc<[Vec<u8>]>,
    /// The first of them, and the step to the next.
    pub(super) first: usize,
    pub(super) step: usize,
    /// Calls in flight.
    pub(super) in_flight: usize,
    /// Expected first field of each answer, a number.
    pub(super) expected: u8,
}

/// Result of the calls.
pub(super) struct Made {
    pub(super) work: Work,
    /// Answers whose first field was as expected.
    pub(super) expected: u64,
}

struct Connection<'a> {
    calls: &'a Calls,
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    open: HashMap<u32, Open, RandomState>,
    /// Bytes that the server takes before it has read more.
    credit: usize,
    /// Bytes of answers since the last window update.
    read: u32,
    next_stream: u32,
    next_message: usize,
    made: Made,
}

/// Call in flight.
struct Open {
    since: Instant,
    answer: Option<u8>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const FRAME_HEAD: usize = 9;
/// Window that HTTP/2 begins with, and the largest.
const WINDOW: usize = 65_535;
const MOST: u32 = (1 << 31) - 1;
/// Longest time of the calls in flight at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes calls until then, and waits for the last answers.
pub(super) async fn drive(calls: Calls, until: Instant) -> io::Result<Made> {
    let mut connection = Connection::open(&calls).await?;
    for _ in 0..calls.in_flight {
        connection.call()?;
    }
    let done = connection.run(until);
    let limit = until.saturating_duration_since(Instant::now()) + PATIENCE;
    timeout(limit, done).await.map_err(|_| io::Error::other("answers are missing"))??;
    Ok(connection.made)
}

// === impl Connection ===

impl Connection<'_> {
    async fn open(calls: &Calls) -> io::Result<Connection<'_>> {
        let mut stream = TcpStream::connect(calls.address).await?;
        stream.set_nodelay(true)?;
        let mut output = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // No push, and no window that answers could fill.
        let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend(MOST.to_be_bytes());
        frame(&mut output, SETTINGS, 0, 0, &settings);
        frame(&mut output, WINDOW_UPDATE, 0, 0, &(MOST - WINDOW as u32).to_be_bytes());
        stream.write_all(&output).await?;
        output.clear();
        Ok(Connection {
            calls,
            stream,
            input: BytesMut::with_capacity(64 << 10),
            output,
            open: HashMap::default(),
            credit: WINDOW,
            read: 0,
            next_stream: 1,
            next_message: calls.first,
            made: Made { work: Work::new(), expected: 0 },
        })
    }

    async fn run(&mut self, until: Instant) -> io::Result<()> {
        loop {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
            if self.open.is_empty() {
                return Ok(());
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let now = Instant::now();
            while let Some(length) = self.whole_frame() {
                let frame = self.input.split_to(FRAME_HEAD + length);
                if self.take(&frame, now)? && now < until {
                    self.call()?;
                }
            }
        }
    }

    /// Length of the next frame, if all of it is there.
    fn whole_frame(&self) -> Option<usize> {
        let head = self.input.first_chunk::<4>()?;
        let length = (u32::from_be_bytes(*head) >> 8) as usize;
        (self.input.len() >= FRAME_HEAD + length).then_some(length)
    }

    /// Begins a call.
    fn call(&mut self) -> io::Result<()> {
        let message = &self.calls.messages[self.next_message % self.calls.messages.len()];
        self.next_message += self.calls.step;
        let length = message.len() + 5;
        // Far more is in flight on no connection.
        self.credit = self.credit.checked_sub(length).ok_or_else(|| io::Error::other("the server reads too slowly"))?;
        let stream = self.next_stream;
        self.next_stream += 2;
        let headers = if stream == 1 { first_headers(self.calls) } else { LATER_HEADERS.to_vec() };
        frame(&mut self.output, HEADERS, END_HEADERS, stream, &headers);
        frame_head(&mut self.output, DATA, END_STREAM, stream, length);
        self.output.push(0);
        self.output.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.output.extend_from_slice(message);
        self.open.insert(stream, Open { since: Instant::now(), answer: None });
        Ok(())
    }

    /// Takes a frame in; whether a call has ended by it.
    fn take(&mut self, frame: &[u8], now: Instant) -> io::Result<bool> {
        let (head, mut payload) = frame.split_at(FRAME_HEAD);
        let (kind, flags) = (head[3], head[4]);
        let stream = (&head[5..]).get_u32();
        match kind {
            DATA => {
                if flags & PADDED != 0 {
                    return Err(io::Error::other("padding, which is not read here"));
                }
                self.read_data(stream, payload);
                Ok(flags & END_STREAM != 0 && self.end(stream, now))
            }
            HEADERS => Ok(flags & END_STREAM != 0 && self.end(stream, now)),
            RST_STREAM => Ok(self.end(stream, now)),
            SETTINGS if flags & ACK == 0 => {
                frame_head(&mut self.output, SETTINGS, ACK, 0, 0);
                Ok(false)
            }
            PING if flags & ACK == 0 => {
                frame_head(&mut self.output, PING, ACK, 0, payload.len());
                self.output.extend_from_slice(payload);
                Ok(false)
            }
            WINDOW_UPDATE if stream == 0 => {
                self.credit += payload.get_u32() as usize;
                Ok(false)
            }
            GOAWAY => Err(io::Error::other("the server says goodbye")),
            _ => Ok(false),
        }
    }

    fn read_data(&mut self, stream: u32, payload: &[u8]) {
        self.read += u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if self.read > MOST / 2 {
            frame(&mut self.output, WINDOW_UPDATE, 0, 0, &self.read.to_be_bytes());
            self.read = 0;
        }
        if let Some(open) = self.open.get_mut(&stream) {
            self.made.work.reply_bytes = payload.len().saturating_sub(5) as u64;
            // No compression, four bytes of length, then field 1 as a number.
            if let [0, _, _, _, _, 0x08, answer, ..] = payload {
                open.answer = Some(*answer);
            }
        }
    }

    /// Notes how a call went; whether it was one.
    fn end(&mut self, stream: u32, now: Instant) -> bool {
        let Some(open) = self.open.remove(&stream) else { return false };
        match open.answer {
            Some(answer) => {
                self.made.work.latencies.record(now - open.since);
                self.made.expected += u64::from(answer == self.calls.expected);
            }
            None => {
                self.made.work.failed += 1;
                self.made.work.failure.get_or_insert_with(|| "an answer without a message".to_owned());
            }
        }
        true
    }
}

// === impl Made ===

impl Made {
    /// Adds up several connections.
    pub(super) fn together(all: Vec<Made>) -> Made {
        let mut sum = Made { work: Work::new(), expected: 0 };
        for made in all {
            sum.work.add(made.work);
            sum.expected += made.expected;
        }
        sum
    }
}

// === frames ===

/// `:method: POST` and `:scheme: http` of the static table, and the four that the first call added: the last one has number 62.
const LATER_HEADERS: [u8; 6] = [0x83, 0x86, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62];

/// Encodes a header in full, for the server to remember.
fn first_headers(calls: &Calls) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let (path, authority, kind) = (0x40 | 4, 0x40 | 1, 0x40 | 31);
    for (name, value) in [(path, calls.path), (authority, &*calls.address.to_string()), (kind, "application/grpc")] {
        block.push(name);
        text(&mut block, value);
    }
    block.push(0x40);
    text(&mut block, "te");
    text(&mut block, "trailers");
    block
}

/// Encodes a text of up to 126 bytes as is.
fn text(block: &mut Vec<u8>, text: &str) {
    debug_assert!(text.len() < 127, "{text} needs a longer form");
    block.push(text.len() as u8);
    block.extend_from_slice(text.as_bytes());
}

fn frame(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    frame_head(output, kind, flags, stream, payload.len());
    output.extend_from_slice(payload);
}

fn frame_head(output: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    output.extend([length[1], length[2], length[3], kind, flags]);
    output.extend(stream.to_be_bytes());
}
