use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use http_body_util::BodyExt as _;

use crate::admin::output::say;
use crate::admin::{self, Admin, Body};
use crate::home::Context;
use crate::pull::text::size;

/// Copies the database to a file, consistent at one moment, also while the server runs.
///
/// What users wrote stays sealed in it: it can only be read together with the master key, which is not in it and of
/// which a copy belongs somewhere else.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to; what is there is replaced when the copy is whole.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    admin::run(context, async |admin: &Admin| {
        let body = admin.open_answer("GET", "/api/admin/backup", None).await?;
        let file = &arguments.file;
        let bytes =
            write(body, file).await.with_context(|| format!("{} can't be written", file.display()))?;
        say(&format!("{} holds the database ({}), but not the master key", file.display(), size(bytes)))
    })
}

/// Writes a body to a file that is there whole or not at all. Gives its size.
async fn write(mut body: Body, path: &Path) -> anyhow::Result<u64> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // With mode 0600, and gone if we don't come to the end.
    let mut draft = tempfile::Builder::new().prefix(".backup").tempfile_in(folder)?;
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            draft.write_all(&data)?;
            bytes += data.len() as u64;
        }
    }
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    File::open(folder)?.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use bytes::Bytes;
    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    fn body(pieces: Vec<anyhow::Result<&'static str>>) -> Body {
        let frames = pieces.into_iter().map(|piece| piece.map(|text| Frame::data(Bytes::from(text))));
        StreamBody::new(stream::iter(frames.collect::<Vec<_>>())).boxed_unsync()
    }

    #[tokio::test]
    async fn whole_and_private_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup.db");
        assert_eq!(write(body(vec![Ok("deep "), Ok("sea")]), &path).await.unwrap(), 8);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "deep sea");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let broken = vec![Ok("shallow"), Err(anyhow::anyhow!("the server went away"))];
        let error = write(body(broken), &path).await.unwrap_err();
        assert!(error.to_string().contains("went away"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "deep sea");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        assert_eq!(write(body(vec![Ok("new")]), &path).await.unwrap(), 3);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert!(write(body(vec![]), &folder.path().join("none/backup.db")).await.is_err());
    }
}
