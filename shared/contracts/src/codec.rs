//! How messages are encoded: prost, with buffers of the size of our messages.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// First size of the buffer of each direction of a call, in bytes; it grows with what it has to hold. tonic's own 8 KiB
/// are held by every open stream, and most of our messages have a few hundred bytes.
const BUFFER: usize = 1024;
/// Bytes that a stream gathers before it yields them; tonic's own.
const YIELD: usize = 32 * 1024;

/// The codec of every generated client and server.
#[derive(Clone, Debug)]
pub struct SmallProstCodec<T, U>(PhantomData<(T, U)>);

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
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, YIELD))
    }
}
