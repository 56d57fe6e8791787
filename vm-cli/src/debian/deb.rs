//! Binary packages (deb(5)): an `ar` archive whose member `data.tar.*` holds the files.

use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context as _, bail};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;

/// The files of a package, as an archive to be walked through once.
pub(super) fn files<R: Read + Seek>(mut package: R) -> anyhow::Result<tar::Archive<impl Read>> {
    const DAMAGED: &str = "the installer's package is damaged";
    let mut magic = [0; MAGIC.len()];
    package.read_exact(&mut magic).context(DAMAGED)?;
    if magic != *MAGIC {
        bail!("{DAMAGED}: it is no package");
    }
    loop {
        let mut header = [0; HEADER_BYTES];
        package.read_exact(&mut header).context(DAMAGED)?;
        let field = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&header[range])
                .trim_end_matches([' ', '/'])
                .to_owned()
        };
        let bytes: u32 = field(48..58).parse().context(DAMAGED)?;
        match field(0..16).as_str() {
            "data.tar.xz" => {
                let member = package.take(bytes.into());
                return Ok(tar::Archive::new(xz2::read::XzDecoder::new(member)));
            }
            name if name.starts_with("data.tar") => {
                bail!("the installer's package is packed as {name}, which is not supported");
            }
            // Members start at even offsets.
            _ => package
                .seek(SeekFrom::Current(
                    u64::from(bytes).next_multiple_of(2) as i64
                ))
                .context(DAMAGED)?,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write as _};

    fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            0,
            100_644,
            content.len()
        )
        .into_bytes();
        bytes.extend(content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    }

    fn package(data_name: &str) -> Cursor<Vec<u8>> {
        let mut tar = tar::Builder::new(xz2::write::XzEncoder::new(Vec::new(), 1));
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        tar.append_data(&mut header, "./usr/linux", &b"hello"[..])
            .unwrap();
        let data = tar.into_inner().unwrap().finish().unwrap();
        let mut all = Vec::new();
        all.write_all(MAGIC).unwrap();
        all.extend(member("debian-binary", b"2.0\n"));
        all.extend(member("control.tar.xz", b"odd"));
        all.extend(member(data_name, &data));
        Cursor::new(all)
    }

    #[test]
    fn files_of_a_package_are_found_behind_odd_members() {
        let mut archive = files(package("data.tar.xz/")).unwrap();
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert!(entry.path().unwrap().ends_with("usr/linux"));
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert_eq!(content, "hello");
    }

    #[test]
    fn files_of_other_things_are_errors() {
        assert!(files(Cursor::new(b"")).is_err());
        assert!(files(Cursor::new(b"!<arch>\nshort")).is_err());
        assert!(files(Cursor::new(b"not an archive at all")).is_err());
        let error = files(package("data.tar.zst")).err().unwrap().to_string();
        assert!(error.contains("data.tar.zst"), "{error}");
    }
}
