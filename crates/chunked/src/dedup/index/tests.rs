use super::*;
#[test]
fn scratch_podman() {
    for id in std::fs::read_dir("/tmp/t/pod/root/overlay-layers").unwrap() {
        let dir = id.unwrap().path();
        let Ok(cache) = std::fs::read(dir.join("=Y2h1bmtlZC1tYW5pZmVzdC1jYWNoZQ==")) else { continue };
        let toc = std::fs::File::open(dir.join("=enN0ZC1jaHVua2VkLW1hbmlmZXN0")).unwrap();
        let toc = crate::Toc::read(std::io::BufReader::new(toc), &crate::Limits::default()).unwrap();
        let mut ours = Vec::new();
        write_index(&toc, &mut ours).unwrap();
        std::fs::write(dir.join("ours"), &ours).unwrap();
        println!("{} {} equal {}", cache.len(), ours.len(), ours == cache);
    }
}
