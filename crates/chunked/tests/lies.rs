//! Blobs that lie: in the TOC, the tar-split, the annotations, or the data.

mod common;

use chunked::{Prover, Reuse, ScanError, TocLocation, UnpackError};
use common::blob::{Built, Recipe, build, file, other, rooted};
use common::sources::{Odd, cut};
use common::tree::{assert_same, list_by_gnu_tar};
use common::{Stage, random};
use serde_json::{Value, json};
use storage_core::{BytesSource, Digest, EntryKind};

fn tar() -> Vec<u8> {
    let mut link = other("link", EntryKind::Symlink { target: b"file".into() });
    link.0.xattrs = Vec::new();
    let mut hard = other("hard", EntryKind::HardLink { target: b"file".into() });
    hard.0.mode = 0o644;
    let mut noted = file("noted", "n");
    noted.0.xattrs = vec![(b"user.note".into(), b"v".into())];
    rooted(&[
        file("file", random(9000, 1)),
        link,
        noted,
        file("other", random(9000, 2)),
        hard,
        other("pipe", EntryKind::Fifo),
    ])
}

fn error_of(built: &Built) -> UnpackError {
    Stage::new().unpack(built).expect_err("this blob lies")
}

/// The error and all its causes.
fn text(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", text(source)));
    format!("{error}{}", source.unwrap_or_default())
}

#[test]
fn a_toc_that_contradicts_the_tar_is_a_lie() {
    type Edit = fn(&mut Value);
    let edits: [(&str, &str, Edit); 19] = [
        ("mode", "mode", |e| e[1]["mode"] = 0o4755.into()),
        ("owner", "owner", |e| e[1]["uid"] = 0.into()),
        ("group", "owner", |e| e[1]["gid"] = 7.into()),
        ("time", "times", |e| e[1]["modtime"] = "2001-01-01T00:00:00Z".into()),
        ("no time", "times", |e| e[1]["modtime"] = Value::Null),
        ("access", "times", |e| e[1]["accesstime"] = "2001-01-01T00:00:00Z".into()),
        ("text of a link", "type", |e| e[2]["linkName"] = "/etc/shadow".into()),
        ("type", "type", |e| {
            e[6] = json!({"type": "char", "name": "pipe", "mode": 0o755,
                "uid": e[6]["uid"], "gid": e[6]["gid"], "modtime": e[6]["modtime"]});
        }),
        ("name", "name", |e| e[2]["name"] = "lynx".into()),
        ("spelling", "name", |e| e[2]["name"] = "./link".into()),
        ("more xattrs", "xattrs", |e| e[3]["xattrs"]["security.capability"] = "AQ==".into()),
        ("other xattrs", "xattrs", |e| e[3]["xattrs"]["user.note"] = "AQ==".into()),
        ("no xattrs", "xattrs", |e| e[3]["xattrs"] = json!({})),
        ("size", "size", |e| e[4]["size"] = 9001.into()),
        ("one more", "does not have the entry", |e| {
            e.as_array_mut().unwrap().push(json!({"type": "dir", "name": "more"}));
        }),
        ("one less", "does not have the entry", |e| drop(e.as_array_mut().unwrap().pop())),
        ("order", "name", |e| e.as_array_mut().unwrap().swap(2, 6)),
        ("twice", "name of another entry", |e| {
            let again = e[6].clone();
            e.as_array_mut().unwrap().push(again);
        }),
        ("outside", "leaves the layer's root", |e| e[2]["name"] = "../link".into()),
    ];
    for (what, expected, edit) in edits {
        let edit_toc = Box::new(move |toc: &mut Value| edit(&mut toc["entries"]));
        let error = error_of(&Recipe { edit_toc, ..Recipe::default() }.build(tar()));
        assert!(error.is_lie_of_the_toc(), "{what}: {error:?}");
        assert!(text(&error).contains(expected), "{what}: {}", text(&error));
    }
}

#[test]
fn content_of_which_only_the_toc_speaks_is_checked() {
    // The digest of the file is another.
    let edit_toc = Box::new(|toc: &mut Value| {
        toc["entries"][1]["digest"] = Digest::of(b"x").to_string().into();
    });
    let error = error_of(&Recipe { edit_toc, ..Recipe::default() }.build(tar()));
    assert!(matches!(error, UnpackError::Apply(_)), "{error:?}");
    // Two files of one length are swapped, each with its right digest.
    let edit_toc = Box::new(|toc: &mut Value| {
        for key in ["digest", "offset", "endOffset"] {
            let other = toc["entries"][4][key].clone();
            toc["entries"][1][key] = other;
        }
        toc["entries"][4] = toc["entries"][3].clone();
    });
    let error = error_of(&Recipe { edit_toc, ..Recipe::default() }.build(tar()));
    assert!(error.is_lie_of_the_toc(), "{error:?}");
    // All is right, but the tar is not the one of the config.
    let mut built = Recipe::default().build(tar());
    built.diff_id = Digest::of(b"another tar").into();
    let error = error_of(&built);
    assert!(matches!(error, UnpackError::Prove(_)) && error.is_lie_of_the_toc(), "{error:?}");
}

#[test]
fn a_hole_that_is_none_is_found_out() {
    let edit_toc = Box::new(|toc: &mut Value| {
        for entry in toc["entries"].as_array_mut().unwrap() {
            if entry["chunkOffset"] == 4096 || entry["name"] == "noted" {
                entry["chunkType"] = "zeros".into();
            }
        }
    });
    let recipe = Recipe { edit_toc, chunk: Some(4096), ..Recipe::default() };
    let error = error_of(&recipe.build(tar()));
    // The file that would be all hole is the first to be made.
    assert!(matches!(error, UnpackError::Apply(_)) && error.is_lie_of_the_toc(), "{error:?}");
}

#[test]
fn payloads_with_another_digest_are_lies() {
    let built = Recipe::default().build(tar());
    let location = built.location();
    for span in [location.toc, location.tar_split.unwrap()] {
        for at in [0, 5, span.length / 2, span.length - 1] {
            let mut built = built.clone();
            built.blob[usize::try_from(span.offset + at).unwrap()] ^= 0x10;
            let error = error_of(&built);
            assert!(matches!(error, UnpackError::Scan(_)), "{error:?}");
            assert!(error.is_lie_of_the_toc(), "{error:?}");
        }
    }
}

#[test]
fn metadata_that_is_missing_or_elsewhere_is_a_lie() {
    let no_digest = Box::new(|toc: &mut Value| toc["tarSplitDigest"] = Value::Null);
    let built = Recipe { edit_toc: no_digest, ..Recipe::default() }.build(tar());
    assert!(matches!(error_of(&built), UnpackError::Scan(ScanError::NoTarSplit)));

    let built = Recipe::default().build(tar());
    let unpack = |change: &dyn Fn(&mut TocLocation)| {
        let (stage, mut location) = (Stage::new(), built.location());
        change(&mut location);
        let dirs = stage.dirs();
        chunked::scan(&built.source(), &location, dirs, &chunked::Limits::default()).unwrap_err()
    };
    let no_tar_split = unpack(&|location| location.tar_split = None);
    assert!(matches!(no_tar_split, ScanError::NoTarSplit), "{no_tar_split:?}");
    for change in [
        (|location: &mut TocLocation| location.toc.offset = 1 << 40) as fn(&mut TocLocation),
        |location| location.toc.length = u64::MAX,
        |location| location.toc.length = 0,
        |location| location.tar_split.as_mut().unwrap().length = 1 << 29,
        |location| location.tar_split = Some(location.toc),
        |location| location.toc.uncompressed = 1 << 50,
        |location| location.toc.length -= 1,
        |location| location.toc.offset += 1,
    ] {
        let error = unpack(&change);
        assert!(error.is_lie_of_the_toc(), "{error:?}");
    }
}

#[test]
fn metadata_that_grows_beyond_the_limits_is_refused() {
    let edit_toc_text = Box::new(|text: String| text + &" ".repeat(1 << 20));
    let edit_tar_split = Box::new(|bytes: Vec<u8>| [bytes, vec![b'\n'; 1 << 20]].concat());
    for (what, recipe) in [
        ("TOC", Recipe { edit_toc_text, ..Recipe::default() }),
        ("tar-split", Recipe { edit_tar_split, ..Recipe::default() }),
    ] {
        let (built, stage) = (recipe.build(tar()), Stage::new());
        let mut limits = chunked::Limits::default();
        (limits.toc, limits.tar_split) = (1 << 20, 1 << 20);
        // Whatever the annotations say of it.
        let mut location = built.location();
        location.toc.uncompressed = 1;
        location.tar_split.as_mut().unwrap().uncompressed = 1;
        let error = chunked::scan(&built.source(), &location, stage.dirs(), &limits).unwrap_err();
        assert!(error.is_lie_of_the_toc(), "{error:?}");
        if what == "TOC" {
            assert!(
                matches!(error, ScanError::TooLarge { what: "TOC", limit } if limit == 1 << 20)
            );
        }
    }
}

#[test]
fn a_flipped_byte_of_the_data_is_an_error_or_makes_no_difference() {
    let built = Recipe { chunk: Some(2000), ..Recipe::default() }.build(tar());
    let expected = list_by_gnu_tar(&built.tar);
    let data = usize::try_from(built.location().toc.offset).unwrap() - 8;
    for at in (0..data).step_by(97) {
        let mut flipped = built.clone();
        flipped.blob[at] ^= 0x55;
        let stage = Stage::new();
        match stage.unpack(&flipped) {
            Ok(_) => assert_same(&stage.list(), &expected),
            Err(error) => {
                assert!(matches!(error, UnpackError::Apply(_)), "{error:?}");
                // Only the digest of the whole blob tells whose fault it is.
                assert!(error.is_lie_of_the_toc(), "{error:?}");
            }
        }
    }
}

#[test]
fn a_source_that_stops_skips_or_repeats_is_an_error() {
    let built = Recipe { chunk: Some(2000), ..Recipe::default() }.build(tar());
    for at in 0..12 {
        for manner in 0..3 {
            let change = |given| {
                let mut given = cut(given, 1500);
                let at = at % given.len();
                match manner {
                    0 => given.truncate(at),
                    1 => drop(given.remove(at)),
                    _ => {
                        let again = given[at].as_ref().unwrap().clone();
                        given.insert(at, Ok(again));
                    }
                }
                given
            };
            let source = Odd { inner: built.source(), change };
            let stage = Stage::new();
            let error =
                stage.unpack_from(&source, &built, Reuse::default(), &[]).expect_err("odd source");
            assert!(!error.is_lie_of_the_toc(), "{error:?}");
        }
    }
}

#[test]
fn a_source_that_fails_is_an_error_of_the_source() {
    let built = Recipe::default().build(tar());
    let short = BytesSource::new(built.blob[..built.blob.len() - 200].to_vec());
    let error = Stage::new().unpack_from(&short, &built, Reuse::default(), &[]).unwrap_err();
    assert!(error.is_lie_of_the_toc(), "the annotations point beyond the blob: {error:?}");
}

#[test]
fn a_prover_that_is_dropped_stops_and_one_that_is_cheated_says_so() {
    let (built, empty) = (Recipe::default().build(tar()), build(&[]));
    let (stage, nothing) = (Stage::new(), Stage::new());
    let limits = chunked::Limits::default();
    let source = built.source();
    chunked::scan(&source, &built.location(), stage.dirs(), &limits).unwrap();
    // It waits for the first file now, or soon; dropping must not.
    drop(Prover::start(stage.dirs(), built.diff_id).unwrap());

    let toc =
        chunked::scan(&empty.source(), &empty.location(), nothing.dirs(), &limits).unwrap().toc;
    let prover = Prover::start(stage.dirs(), built.diff_id).unwrap();
    let map = chunked::DedupMap::default();
    let (plan, trees) = (chunked::Plan::new(&toc, &map, Reuse::Never), chunked::LocalTrees::new());
    let options = ::tree::TreeOptions::new(common::privileges());
    let source = empty.source();
    let pinned = plan.pin(&source, &trees, nothing.dirs(), options, &prover).unwrap();
    let applied = pinned.apply().unwrap();
    let error = prover.finish(applied).unwrap_err();
    assert!(matches!(error, chunked::ProveError::NotMade(0)), "{error:?}");
    // And without a tar-split there is nothing to prove.
    assert!(Prover::start(Stage::new().dirs(), built.diff_id).is_err());
}
