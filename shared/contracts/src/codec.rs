//! How messages are encoded: prost, with buffers of the size of our messages, and decoded from one slice.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

/// First size of the buffer of each direction of a call, in bytes; it grows with what it has to hold. tonic's own 8 KiB
/// are held by every open stream, and most of our messages have a few hundred bytes.
const BUFFER: usize = 1024;
/// Bytes that a stream gathers before it yields them; tonic's own.
const YIELD: usize = 32 * 1024;

/// The codec of every generated client and server.
#[derive(Clone, Debug)]
pub struct SmallProstCodec<T, U>(PhantomData<(T, U)>);

/// Decodes a message of a call.
#[derive(Clone, Debug)]
pub struct SliceDecoder<U>(PhantomData<U>);

// === impl SmallProstCodec ===

impl<T, U> Default for SmallProstCodec<T, U> {
    fn default() -> Self {
        SmallProstCodec(PhantomData)
    }
}

impl<T, U> Codec for SmallProstCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = SliceDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        SliceDecoder(PhantomData)
    }
}

// === impl SliceDecoder ===

impl<U: Message + Default> Decoder for SliceDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // The whole message lies in one piece. prost reads a slice in half the time that it needs for a buffer which keeps
        // account of each byte taken, and that is a good part of what a batch of checks costs.
        let length = source.remaining();
        let message = match source.chunk() {
            whole if whole.len() == length => U::decode(whole),
            _ => return U::decode(source).map(Some).map_err(malformed),
        };
        source.advance(length);
        message.map(Some).map_err(malformed)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, YIELD)
    }
}

/// As tonic's own codec has it.
fn malformed(error: prost::DecodeError) -> Status {
    Status::internal(error.to_string())
}
