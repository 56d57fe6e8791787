use super::*;

/// A host's files in a folder of their own.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn find(&self, interface: Interface) -> Option<Firmware> {
        let search = Search {
            root: self.0.path(),
            user_config: None,
            arch: GuestArch::X86_64,
            machine: "pc-q35-10.0",
            interface,
        };
        search.first()
    }

    fn flash(&self, code: &str, variables: &str) -> Option<Firmware> {
        let [code, variables] = [code, variables].map(|path| self.0.path().join(path));
        Some(Firmware::Flash { code, variables })
    }
}

/// A descriptor as packages of OVMF bring it.
fn descriptor(code: &str, features: &str) -> String {
    format!(
        r#"{{"description": "UEFI", "interface-types": ["uefi"],
        "mapping": {{"device": "flash",
            "executable": {{"filename": "/usr/share/fw/{code}", "format": "raw"}},
            "nvram-template": {{"filename": "/usr/share/fw/vars.fd", "format": "raw"}}}},
        "targets": [{{"architecture": "x86_64", "machines": ["pc-i440fx-*", "pc-q35-*"]}}],
        "features": [{features}], "tags": []}}"#
    )
}

#[test]
fn first_by_name_is_taken_unless_it_needs_system_management_mode() {
    let host = Host::new();
    host.file("usr/share/fw/secure.fd", "x");
    host.file("usr/share/fw/plain.fd", "x");
    host.file("usr/share/fw/vars.fd", "x");
    let secure = descriptor("secure.fd", r#""secure-boot", "requires-smm""#);
    host.file("usr/share/qemu/firmware/40-secure.json", &secure);
    host.file(
        "usr/share/qemu/firmware/60-plain.json",
        &descriptor("plain.fd", ""),
    );
    let plain = host.flash("usr/share/fw/plain.fd", "usr/share/fw/vars.fd");
    assert_eq!(host.find(Interface::Uefi), plain);
    assert_eq!(host.find(Interface::Bios), None);
}

#[test]
fn first_descriptor_of_the_host_hides_the_packages() {
    let host = Host::new();
    for name in ["own.fd", "packaged.fd", "vars.fd"] {
        host.file(&format!("usr/share/fw/{name}"), "x");
    }
    host.file(
        "usr/share/qemu/firmware/60.json",
        &descriptor("packaged.fd", ""),
    );
    host.file("etc/qemu/firmware/60.json", &descriptor("own.fd", ""));
    let own = host.flash("usr/share/fw/own.fd", "usr/share/fw/vars.fd");
    assert_eq!(host.find(Interface::Uefi), own);
    host.file("etc/qemu/firmware/60.json", "");
    assert_eq!(host.find(Interface::Uefi), None);
}

#[test]
fn first_without_files_or_with_damaged_descriptors_is_passed_over() {
    let host = Host::new();
    host.file("usr/share/qemu/firmware/10.json", "{");
    host.file("usr/share/qemu/firmware/20.json", r#"{"mapping": 3}"#);
    host.file(
        "usr/share/qemu/firmware/30.json",
        &descriptor("absent.fd", ""),
    );
    assert_eq!(host.find(Interface::Uefi), None);
    host.file("usr/share/OVMF/OVMF_CODE_4M.fd", "x");
    assert_eq!(host.find(Interface::Uefi), None, "no variables");
    host.file("usr/share/OVMF/OVMF_VARS_4M.fd", "x");
    let usual = host.flash(
        "usr/share/OVMF/OVMF_CODE_4M.fd",
        "usr/share/OVMF/OVMF_VARS_4M.fd",
    );
    assert_eq!(host.find(Interface::Uefi), usual);
}

#[test]
fn first_bios_is_found_at_its_usual_places_and_by_descriptor() {
    let host = Host::new();
    host.file("usr/share/qemu/bios-256k.bin", "x");
    let image = |path| Some(Firmware::Image(host.0.path().join(path)));
    assert_eq!(
        host.find(Interface::Bios),
        image("usr/share/qemu/bios-256k.bin")
    );
    host.file("usr/share/fw/bios.bin", "x");
    let text = r#"{"interface-types": ["bios"], "features": [],
        "mapping": {"device": "memory", "filename": "/usr/share/fw/bios.bin"},
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}]}"#;
    host.file("etc/qemu/firmware/50-bios.json", text);
    assert_eq!(host.find(Interface::Bios), image("usr/share/fw/bios.bin"));
}
