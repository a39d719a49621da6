//! Sizes and places of contents, in a TOC.

use serde_json::{Value, json};
use testkit::forged::{Recipe, dir, file};
use testkit::tree::noise;

use crate::case::Verdict::{Accept, Whole};
use crate::case::{Case, forged};

/// 0 to 4 are a file in five chunks, 5 and 6 files of one size.
fn honest() -> Recipe {
    let items = [
        file("chunks", noise(5000, 1)),
        file("a", noise(900, 2)),
        file("b", noise(900, 3)),
        dir("d"),
    ];
    Recipe::of(items).chunks(1000)
}

fn list(toc: &mut Value) -> &mut Vec<Value> {
    toc.as_array_mut().expect("entries are a list")
}

pub(crate) fn cases() -> Vec<Case> {
    type Lie = (&'static str, fn(&mut Value));
    let lies: [Lie; 52] = [
        ("offset_beyond_the_blob", |e| e[5]["offset"] = json!(1_u64 << 40)),
        ("end_beyond_the_blob", |e| e[6]["endOffset"] = json!(1_u64 << 40)),
        ("end_in_the_toc", |e| {
            e[6]["endOffset"] = json!(e[6]["endOffset"].as_u64().unwrap_or(0) + 200)
        }),
        ("offset_overflows", |e| e[5]["offset"] = json!(u64::MAX)),
        ("end_overflows", |e| e[6]["endOffset"] = json!(u64::MAX)),
        ("largest_offset", |e| e[5]["offset"] = json!(i64::MAX)),
        ("largest_end", |e| e[6]["endOffset"] = json!(i64::MAX)),
        ("offset_negative", |e| e[5]["offset"] = (-1).into()),
        ("end_negative", |e| e[5]["endOffset"] = (-1).into()),
        ("offset_is_a_fraction", |e| e[5]["offset"] = json!(1.5)),
        ("offset_is_text", |e| e[5]["offset"] = "1".into()),
        ("offset_beyond_64_bits", |e| e[5]["offset"] = json!(1e30)),
        ("end_before_offset", |e| e[5]["endOffset"] = json!(1)),
        ("end_at_offset", |e| e[5]["endOffset"] = e[5]["offset"].clone()),
        ("no_offset", |e| e[5]["offset"] = Value::Null),
        ("no_end", |e| e[5]["endOffset"] = Value::Null),
        ("overlap", |e| e[6]["offset"] = e[5]["offset"].clone()),
        ("one_byte_early", |e| e[5]["offset"] = json!(e[5]["offset"].as_u64().unwrap_or(1) - 1)),
        ("one_byte_late", |e| e[5]["offset"] = json!(e[5]["offset"].as_u64().unwrap_or(1) + 1)),
        ("end_one_byte_early", |e| {
            e[5]["endOffset"] = json!(e[5]["endOffset"].as_u64().unwrap_or(1) - 1)
        }),
        ("end_one_byte_late", |e| {
            e[5]["endOffset"] = json!(e[5]["endOffset"].as_u64().unwrap_or(1) + 1)
        }),
        ("at_the_headers", |e| {
            e[5]["offset"] = e[4]["endOffset"].clone();
            e[0]["offset"] = 0.into();
        }),
        ("size_of_2_to_62", |e| e[5]["size"] = json!(1_u64 << 62)),
        ("size_overflows", |e| e[5]["size"] = json!(u64::MAX)),
        ("size_negative", |e| e[5]["size"] = (-1).into()),
        ("size_is_text", |e| e[5]["size"] = "900".into()),
        ("size_one_more", |e| e[5]["size"] = 901.into()),
        ("size_one_less", |e| e[5]["size"] = 899.into()),
        ("size_none", |e| e[5]["size"] = 0.into()),
        // Chunks.
        ("chunk_is_missing", |e| drop(list(e).remove(2))),
        ("last_chunk_is_missing", |e| drop(list(e).remove(4))),
        ("chunk_twice", |e| {
            let again = e[2].clone();
            list(e).insert(2, again);
        }),
        ("chunks_swapped", |e| list(e).swap(2, 3)),
        ("chunk_elsewhere", |e| list(e).swap(4, 5)),
        ("chunk_first", |e| list(e).swap(0, 1)),
        ("chunk_of_another_name", |e| e[2]["name"] = "a".into()),
        ("chunk_too_long", |e| e[2]["chunkSize"] = 1001.into()),
        ("chunk_too_short", |e| e[2]["chunkSize"] = 999.into()),
        ("chunk_of_2_to_62", |e| e[2]["chunkSize"] = json!(1_u64 << 62)),
        ("chunk_that_overflows", |e| e[2]["chunkSize"] = json!(i64::MAX)),
        ("chunk_negative", |e| e[2]["chunkSize"] = (-1000).into()),
        ("chunk_at_another_place_of_the_file", |e| e[2]["chunkOffset"] = 0.into()),
        ("chunk_at_a_place_beyond", |e| e[2]["chunkOffset"] = json!(1_u64 << 62)),
        ("chunk_offset_negative", |e| e[2]["chunkOffset"] = (-1).into()),
        ("chunk_at_another_place_of_the_blob", |e| e[2]["offset"] = e[1]["offset"].clone()),
        ("chunk_behind_its_file", |e| e[4]["offset"] = e[5]["offset"].clone()),
        ("chunk_of_no_known_type", |e| e[2]["chunkType"] = "ones".into()),
        ("hole_that_is_none", |e| e[2]["chunkType"] = "zeros".into()),
        ("file_that_is_no_hole", |e| e[5]["chunkType"] = "zeros".into()),
        ("digest_of_another_chunk", |e| e[2]["chunkDigest"] = e[3]["chunkDigest"].clone()),
        ("digest_of_a_chunk_that_is_none", |e| e[2]["chunkDigest"] = "sha256:..".into()),
        ("chunks_of_a_directory", |e| {
            let mut chunk = e[4].clone();
            chunk["name"] = "d".into();
            list(e).push(chunk);
        }),
    ];
    let mut cases: Vec<Case> =
        lies.into_iter().map(|(name, lie)| forged(name, honest().toc(lie), Whole(""))).collect();
    cases.extend([
        forged("honest", honest(), Accept),
        forged(
            "chunk_of_no_size_goes_to_the_end",
            honest().toc(|e| e[4]["chunkSize"] = Value::Null),
            Accept,
        ),
        forged(
            "no_digests_of_chunks",
            honest().toc(|e| {
                for row in 0..5 {
                    e[row]["chunkDigest"] = Value::Null;
                }
            }),
            Accept,
        ),
        forged(
            "hole_that_is_one",
            Recipe::of([file("f", [noise(1000, 1), vec![0; 2000], noise(500, 2)].concat())])
                .chunks(1000)
                .toc(|e| {
                    for row in [1, 2] {
                        e[row]["chunkType"] = "zeros".into();
                    }
                }),
            Accept,
        ),
        forged("one_byte_chunks", Recipe::of([file("f", noise(300, 1))]).chunks(1), Accept),
    ]);
    cases
}
