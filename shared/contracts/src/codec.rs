//! Encoding of messages: prost, with buffers of the size of our messages and whole map entries, decoded from one slice.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::entries::{Shape, shape};

/// First size of the buffer of each direction of a call, in bytes; it grows with what it has to hold. tonic's own 8 KiB
/// are held by every open stream, and most of our messages have a few hundred bytes.
const BUFFER: usize = 1024;
/// Bytes that a stream gathers before it yields them; tonic's own.
const YIELD: usize = 32 * 1024;

/// Codec of every generated client and server: encodes `T` with key and value in every map entry, and decodes `U`.
#[derive(Clone, Debug)]
pub struct SmallProstCodec<T, U>(PhantomData<(T, U)>);

// === impl SmallProstCodec ===

impl<T: Message + Name, U> SmallProstCodec<T, U> {
    const SHAPE: Option<&'static Shape> = shape(T::PACKAGE, T::NAME);
}

impl<T, U> Default for SmallProstCodec<T, U> {
    fn default() -> Self {
        SmallProstCodec(PhantomData)
    }
}

impl<T, U> Codec for SmallProstCodec<T, U>
where
    T: Message + Name + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<T: Message + Name, U> Encoder for SmallProstCodec<T, U> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match Self::SHAPE {
            None => item.encode(buf).map_err(|error| Status::internal(error.to_string()))?,
            Some(shape) => shape.write(&item.encode_to_vec(), buf),
        }
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, YIELD)
    }
}

impl<T, U: Message + Default> Decoder for SmallProstCodec<T, U> {
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

/// Status of a malformed message, as tonic's own codec has it.
fn malformed(error: prost::DecodeError) -> Status {
    Status::internal(error.to_string())
}
