//! Fetching files, with their hash checked and progress shown.

use std::io::{Read, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::release::Listed;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A mirror that says nothing for so long is gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// Most bytes of a file that no hash is known of.
const SMALL_BYTES: u64 = 16 << 20;

fn get(address: &str) -> anyhow::Result<impl Read> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(SILENCE_TIMEOUT))
        .user_agent("vm-cli")
        .build()
        .into();
    let response = agent
        .get(address)
        .call()
        .with_context(|| format!("cannot fetch {address}"))?;
    Ok(response.into_body().into_reader())
}

/// Fetches a small file whose content is verified by the caller.
pub(super) fn small(address: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    get(address)?
        .take(SMALL_BYTES)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot fetch {address}"))?;
    Ok(bytes)
}

/// Fetches a file below `base` into a temporary file in `folder`; it has the listed size and hash.
pub(super) fn listed(base: &str, file: &Listed, folder: &Path) -> anyhow::Result<NamedTempFile> {
    let address = format!("{base}/{}", file.path);
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let bar = ProgressBar::new(file.bytes).with_message(name.to_owned());
    let style = "{msg} [{bar:30}] {bytes}/{total_bytes}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut source = bar.wrap_read(get(&address)?);
    let mut target = NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write to {}", folder.display()))?;
    let mut hash = Sha256::new();
    let (mut total, mut bytes) = (0, vec![0; 64 << 10]);
    loop {
        let count = source
            .read(&mut bytes)
            .with_context(|| format!("the connection broke while fetching {address}"))?;
        total += count as u64;
        if count == 0 || total > file.bytes {
            break;
        }
        hash.update(&bytes[..count]);
        target
            .write_all(&bytes[..count])
            .with_context(|| format!("cannot write to {}", folder.display()))?;
    }
    bar.finish_and_clear();
    if total != file.bytes || hex(&hash.finalize()) != file.sha256 {
        bail!("{address} is not what the signed index lists: try again later, or another --mirror");
    }
    Ok(target)
}

/// SHA-256 of a file, in hexadecimal.
pub(super) fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut bytes = vec![0; 256 << 10];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&bytes[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead as _;

    /// Serves `content` to one client; returns the address of its folder.
    fn serve(content: &'static [u8]) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = std::io::BufReader::new(stream.try_clone().unwrap());
            let head: Vec<_> = request
                .lines()
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            assert!(head[0].starts_with("GET /f HTTP/1.1"), "{head:?}");
            let length = content.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            stream.write_all(content).unwrap();
        });
        address
    }

    fn wanted(bytes: u64) -> Listed {
        Listed {
            path: "f".into(),
            bytes,
            // Of "abc" (FIPS 180-4's example).
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
        }
    }

    #[test]
    fn listed_right_content_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = listed(&serve(b"abc"), &wanted(3), dir.path()).unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"abc");
        assert_eq!(sha256_of(file.path()).unwrap(), wanted(3).sha256);
    }

    #[test]
    fn listed_other_content_is_refused_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        for (content, bytes) in [(&b"abd"[..], 3), (b"abcd", 3), (b"ab", 3), (b"abc", 4)] {
            let error = listed(&serve(content), &wanted(bytes), dir.path()).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("not what the signed index lists"),
                "{error}"
            );
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
