//! agents.json, the list of known agents.
#![no_main]

use aggregator::fleet::known::KnownFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzz::in_folder(|folder| {
    std::fs::write(folder.join("agents.json"), bytes)?;
    let file = KnownFile::open(folder)?;
    let known = file.load()?;
    file.save(&known)?;
    assert_eq!(format!("{:?}", file.load()?), format!("{known:?}"), "what was saved is read back");
    Ok(())
}));
