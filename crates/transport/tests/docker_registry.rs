//! The registry that most registries are made of, as a judge of requests for ranges and
//! of uploads.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use storage_core::{Digest, RangeReader, RangeSource};
use transport::{Endpoint, Found, ImageSource, ImageTarget as _, Options, Platform, Registry};
use transport::{RegistryTarget, StoredBlob, media_type};

const PROGRAM: &str = "docker-registry";
const OPENSSL: &str = "openssl";

fn main() -> std::process::ExitCode {
    let missing = !on_path(PROGRAM);
    let mut tests = vec![
        Trial::test("an_image_is_resolved_and_its_ranges_are_right", ranges),
        Trial::test("the_whole_blob_streams", whole),
        Trial::test("what_is_written_is_read_back", written),
        Trial::test("a_blob_is_mounted_from_another_repository", mounted),
        Trial::test("certificates_of_a_place_are_used", certificates)
            .with_ignored_flag(!on_path(OPENSSL))
            .with_kind(if on_path(OPENSSL) { "" } else { "no openssl" }),
    ];
    if missing {
        let ignored = |test: Trial| test.with_ignored_flag(true).with_kind("no docker-registry");
        tests = tests.into_iter().map(ignored).collect();
    }
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn ranges() -> Result<(), Failed> {
    let running = Running::start()?;
    let registry = running.open()?;
    let resolved = registry.resolve(&Platform::of_machine())?;
    let [layer] = &resolved.layers[..] else { return Err("not one layer".into()) };
    let source = registry.blob(&layer.digest, layer.size)?;
    let ranges: Vec<_> = (0..200u64).map(|i| i * 5_000 + 1..i * 5_000 + 1 + i * 20).collect();
    assert_eq!(source.link().ranges_per_request, 1);
    let bytes = fetch(&running, &*source, &ranges)?;
    // It answers several ranges at once, which takes a few single ones to find out.
    assert!(source.usage().requests < 60, "{:?}", source.usage());
    let headers = source.usage().bytes - bytes;
    assert!(headers > 0 && headers < 200 * 250, "{:?}", source.usage());
    assert!(source.link().bytes_per_second > 0.0);
    assert!(source.link().ranges_per_request > 1);
    let before = source.usage().requests;
    fetch(&running, &*source, &ranges)?;
    assert!(source.usage().requests - before < 20, "{:?}", source.usage());
    Ok(())
}

/// Fetches ranges, compares them, and tells how many bytes they have.
fn fetch(
    running: &Running,
    source: &dyn RangeSource,
    ranges: &[Range<u64>],
) -> Result<u64, Failed> {
    let mut got = vec![Vec::new(); ranges.len()];
    for piece in source.fetch(ranges.to_vec()) {
        let piece = piece?;
        got[piece.range].extend_from_slice(&piece.bytes);
    }
    let mut bytes = 0;
    for (range, got) in ranges.iter().zip(&got) {
        let span = usize::try_from(range.start)?..usize::try_from(range.end)?;
        assert!(*got == running.layer[span], "{range:?}");
        bytes += range.end - range.start;
    }
    Ok(bytes)
}

fn whole() -> Result<(), Failed> {
    let running = Running::start()?;
    let registry = running.open()?;
    let resolved = registry.resolve(&Platform::of_machine())?;
    let layer = &resolved.layers[0];
    let source = registry.blob(&layer.digest, layer.size)?;
    let mut got = Vec::new();
    RangeReader::new(&*source, 0..layer.size).read_to_end(&mut got)?;
    assert!(got == running.layer);
    assert_eq!(source.usage().requests, 1);
    Ok(())
}

fn written() -> Result<(), Failed> {
    let running = Running::start()?;
    let old = running.open()?.resolve(&Platform::of_machine())?;
    let target = running.target("fresh/app:v2", None)?;
    let quiet: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(|_| {});
    let layer = StoredBlob { digest: old.layers[0].digest, size: old.layers[0].size };
    let config = StoredBlob { digest: old.config.digest, size: old.config.bytes.len() as u64 };
    for (blob, content) in [(&layer, &running.layer), (&config, &old.config.bytes)] {
        assert_eq!(target.find_blob(blob)?, Found::Absent);
        let mut file = tempfile::tempfile()?;
        file.write_all(content)?;
        target.put_blob(blob, &file, &quiet)?;
        assert_eq!(target.find_blob(blob)?, Found::Present);
    }
    let manifest = Box::new(target).finish(&old.manifest.bytes, media_type::OCI_MANIFEST)?;
    assert_eq!(manifest.digest, old.manifest.digest);
    let name = format!("{}/fresh/app:v2", running.host).parse()?;
    let registry = Registry::new(&name, &Options::default())?;
    assert_eq!(registry.resolve(&Platform::of_machine())?, old);
    let mut got = Vec::new();
    let source = registry.blob(&layer.digest, layer.size)?;
    RangeReader::new(&*source, 0..layer.size).read_to_end(&mut got)?;
    assert!(got == running.layer);

    // Of what the registry is not told, it takes nothing.
    let target = running.target("fresh/app:v3", None)?;
    let mut file = tempfile::tempfile()?;
    file.write_all(&[1; 1000])?;
    let lie = StoredBlob { digest: Digest::of(b"other").into(), size: 1000 };
    assert!(target.put_blob(&lie, &file, &quiet).is_err());
    assert!(Box::new(target).finish(b"{}", media_type::OCI_MANIFEST).is_err());
    Ok(())
}

fn mounted() -> Result<(), Failed> {
    let running = Running::start()?;
    let old = running.open()?.resolve(&Platform::of_machine())?;
    let layer = StoredBlob { digest: old.layers[0].digest, size: old.layers[0].size };
    assert_eq!(running.target("b/c:v1", None)?.find_blob(&layer)?, Found::Absent);
    let target = running.target("b/c:v1", Some("app:v1"))?;
    assert_eq!(target.find_blob(&layer)?, Found::Mounted);
    assert_eq!(target.find_blob(&layer)?, Found::Present);
    // What the other one does not have either is sent by the upload that was begun.
    let missing = StoredBlob { digest: Digest::of(b"missing").into(), size: 7 };
    assert_eq!(target.find_blob(&missing)?, Found::Absent);
    let mut file = tempfile::tempfile()?;
    file.write_all(b"missing")?;
    let quiet: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(|_| {});
    target.put_blob(&missing, &file, &quiet)?;
    assert_eq!(target.find_blob(&missing)?, Found::Present);
    Ok(())
}

/// The registry has a certificate of an authority that nobody else knows, and wants one
/// of the same authority from its clients.
fn certificates() -> Result<(), Failed> {
    let made = tempfile::tempdir()?;
    make_certificates(made.path())?;
    let path = |name: &str| made.path().join(name);
    let tls = format!(
        "tls: {{certificate: {}, key: {}, clientcas: [{}]}}, ",
        path("server.crt").display(),
        path("server.key").display(),
        path("ca.crt").display(),
    );
    let running = Running::start_with(&tls)?;
    let resolve = |authority: bool, identity: bool| -> Result<(), Failed> {
        let mut place = Endpoint::new(format!("{}/app", running.host), false);
        if authority {
            place.certificates.authorities.push(std::fs::read(path("ca.crt"))?);
        }
        if identity {
            let files = [std::fs::read(path("client.crt"))?, std::fs::read(path("client.key"))?];
            place.certificates.identity = Some(files.concat());
        }
        let mut options = Options::default();
        options.endpoints.push(place);
        options.retry.attempts = 1;
        let reference = format!("{}/app:v1", running.host).parse()?;
        Registry::new(&reference, &options)?.resolve(&Platform::of_machine())?;
        Ok(())
    };
    assert!(resolve(false, true).is_err(), "an unknown authority is not trusted");
    assert!(resolve(true, false).is_err(), "the registry wants to know its clients");
    resolve(true, true)
}

/// An authority, and certificates of it for the server and a client.
fn make_certificates(dir: &Path) -> Result<(), Failed> {
    let openssl = |arguments: &str| -> Result<(), Failed> {
        let mut command = Command::new(OPENSSL);
        let command = command.current_dir(dir).args(arguments.split(' '));
        let out = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        if out.status.success() { Ok(()) } else { Err(said.into()) }
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=authority"))?;
    std::fs::write(dir.join("extensions"), "subjectAltName=IP:127.0.0.1\n")?;
    for name in ["server", "client"] {
        openssl(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"))?;
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
             -extfile extensions -out {name}.crt"
        ))?;
    }
    Ok(())
}

/// A registry that holds one image, put into its store as files.
struct Running {
    child: Child,
    host: String,
    layer: Vec<u8>,
    _root: tempfile::TempDir,
}

impl Running {
    fn start() -> Result<Self, Failed> {
        Self::start_with("")
    }

    /// With something more in the table `http` of its configuration.
    fn start_with(http: &str) -> Result<Self, Failed> {
        let root = tempfile::tempdir()?;
        let layer: Vec<u8> = (0..1_100_000u32).flat_map(u32::to_le_bytes).step_by(3).collect();
        fill(&root.path().join("docker/registry/v2"), &layer)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = root.path().join("config.yml");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{{http}addr: '{address}'}}\n",
                root.path().display(),
            ),
        )?;
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            if log.read_line(&mut line)? == 0 {
                return Err("the registry ended".into());
            }
        }
        // Its log must be read on, or it would stop at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Self { child, host: address.to_string(), layer, _root: root })
    }

    fn open(&self) -> Result<Registry, Failed> {
        Ok(Registry::new(&format!("{}/app:v1", self.host).parse()?, &Options::default())?)
    }

    fn target(&self, name: &str, related: Option<&str>) -> Result<RegistryTarget, Failed> {
        let here = |name: &str| format!("{}/{name}", self.host).parse();
        let related = related.map(here).transpose()?;
        let mut options = Options::default();
        // It answers 500 to a manifest that is none.
        options.retry.attempts = 1;
        Ok(RegistryTarget::new(&here(name)?, related.as_ref(), &options)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lays the store of the registry out by hand: blobs, and links to them.
fn fill(root: &Path, layer: &[u8]) -> std::io::Result<()> {
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    let repository = PathBuf::from("repositories/app");
    let mut put = |bytes: &[u8], links: &[&str]| {
        let digest = Digest::of(bytes);
        let hex = digest.hex();
        files.insert(format!("blobs/sha256/{}/{hex}/data", &hex[..2]).into(), bytes.into());
        for link in links {
            let link = repository.join(link.replace("HEX", &hex)).join("link");
            files.insert(link, digest.to_string().into_bytes());
        }
        format!(r#""digest":"{digest}","size":{}"#, bytes.len())
    };
    let layer = put(layer, &["_layers/sha256/HEX"]);
    let config = format!(r#"{{"rootfs":{{"diff_ids":["{}"]}}}}"#, Digest::of(b""));
    let config = put(config.as_bytes(), &["_layers/sha256/HEX"]);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}",{config}}},"layers":[{{"mediaType":"{}",{layer}}}]}}"#,
        media_type::OCI_MANIFEST,
        media_type::OCI_CONFIG,
        media_type::OCI_LAYER,
    );
    put(
        manifest.as_bytes(),
        &[
            "_manifests/revisions/sha256/HEX",
            "_manifests/tags/v1/current",
            "_manifests/tags/v1/index/sha256/HEX",
        ],
    );
    for (path, bytes) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("each has one"))?;
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
