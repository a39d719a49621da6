//! Devices and pipes, and the device that overlay takes for a whiteout.

use testkit::forged::{block_device, char_device, dir, fifo, file};

use crate::case::Verdict::{Accept, Refuse, Tree};
use crate::case::{Case, Verdict, case};

const WHITEOUT: Verdict = Refuse("reserved for whiteouts");
const RANGE: Verdict = Refuse("out of range");
const IMPOSSIBLE: Verdict = Refuse("impossible");

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("null", [char_device("null", 1, 3).mode(0o666)], Accept),
        case("disk", [block_device("sda", 8, 0).mode(0o660).owner(0, 6)], Accept),
        case("pipe", [fifo("p").mode(0o600).owner(7, 8)], Accept),
        case("setuid_device", [char_device("c", 1, 3).mode(0o6755)], Accept),
        case("zero_is_no_device", [char_device("c", 0, 0)], WHITEOUT),
        case("zero_below", [dir("d"), char_device("d/c", 0, 0)], WHITEOUT),
        case("zero_over_a_file", [file("f", "1"), char_device("f", 0, 0)], WHITEOUT),
        case("zero_without_fields", [char_device("c", 1, 3).patch(329, [0; 16])], WHITEOUT),
        case(
            "zero_in_a_header_without_devices",
            [char_device("c", 1, 3).patch(257, [0; 8])],
            WHITEOUT,
        ),
        case("block_of_zero", [block_device("b", 0, 0)], Accept),
        case("minor_of_zero", [char_device("c", 5, 0)], Accept),
        case("major_of_zero", [char_device("c", 0, 5)], Accept),
        case("largest", [char_device("c", 4095, 1_048_575)], Accept),
        // Numbers that the kernel would cut, some of them to 0:0.
        case("major_of_4096", [char_device("c", 4096, 0)], IMPOSSIBLE),
        case("minor_of_a_million", [char_device("c", 0, 1_048_576)], IMPOSSIBLE),
        case("major_of_block_of_4096", [block_device("b", 4096, 0)], IMPOSSIBLE),
        case("major_beyond_32_bits", [char_device("c", 1 << 32, 0)], RANGE),
        case("minor_beyond_32_bits", [char_device("c", 0, 1 << 32)], RANGE),
        case("negative_major", [char_device("c", -1, 0)], RANGE),
        case("negative_minor", [char_device("c", 1, -1)], RANGE),
        case(
            "device_field_that_is_no_number",
            [char_device("c", 1, 3).patch(329, "xyz")],
            Refuse("is no number"),
        ),
        case("device_with_a_size", [char_device("c", 1, 3).size(1000), file("f", "1")], Accept),
        case("pipe_with_a_size", [fifo("p").size(1 << 40), file("f", "1")], Accept),
        case("numbers_of_a_file", [file("f", "1").patch(329, "0000010\x000000005")], Accept),
    ];
    for name in ["dev/null", "dev/mem", "dev/kmem", "dev/sda", "dev/fuse", "dev/kvm"] {
        let items = [dir("dev"), char_device(name, 10, 229).mode(0o666)];
        cases.push(case(format!("is_only_made_{}", name.replace('/', "_")), items, Accept));
    }
    cases.push(case(
        "in_a_directory_without_an_entry",
        [char_device("dev/c", 1, 3)],
        Tree(&["d 755 0:0 dev", "c 755 0:0 dev/c 1,3"]),
    ));
    cases
}
