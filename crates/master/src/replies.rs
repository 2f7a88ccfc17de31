//! The replies of one entry on their way from the apply thread to the proposer, within one process: each with its
//! length before it. They are never stored in this form.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use paceline_cell::Reply;

/// Joins the replies of an entry.
pub(crate) fn join(replies: &[Reply]) -> Bytes {
    let mut joined = BytesMut::new();
    for reply in replies {
        let bytes = reply.encode();
        joined.put_u64(bytes.len() as u64);
        joined.extend_from_slice(&bytes);
    }
    joined.freeze()
}

/// Takes them apart again.
pub(crate) fn split(mut joined: Bytes) -> Result<Vec<Reply>, String> {
    let mut replies = Vec::new();
    while !joined.is_empty() {
        let length = joined.try_get_u64().map_err(|error| error.to_string())?;
        let length = usize::try_from(length).ok().filter(|&length| length <= joined.len());
        let bytes = joined.split_to(length.ok_or("a reply is longer than what there is")?);
        replies.push(Reply::decode(&bytes).map_err(|error| error.to_string())?);
    }
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_apart_as_they_were_joined() {
        let replies = vec![Reply::Done, Reply::Ticked { clock_ms: 7 }, Reply::Retired { jobs: 1 }];
        let joined = join(&replies);
        assert_eq!(split(joined.clone()), Ok(replies));
        assert_eq!(split(Bytes::new()), Ok(Vec::new()));
        assert!(split(joined.slice(..joined.len() - 1)).is_err());
    }
}
