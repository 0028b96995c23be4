//! Any bytes as a zTOC: no panic, and what decodes encodes to something that decodes to the same.
#![no_main]

use sociable_ztoc::Ztoc;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(ztoc) = Ztoc::decode(bytes) {
        let again = ztoc.encode().expect("what decodes can be encoded");
        assert_eq!(
            Ztoc::decode(&again.to_vec()).expect("what we encode decodes"),
            ztoc
        );
    }
});
