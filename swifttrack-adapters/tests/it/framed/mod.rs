mod codec;
mod payload;
