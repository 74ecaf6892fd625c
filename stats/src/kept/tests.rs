//! What is refused, and with which words.

use super::*;

#[test]
fn kind_and_version_are_checked_before_the_state() {
    let mut histogram = Histogram::with_len(2);
    histogram.add(1);
    let text = serde_json::to_string(&Kept::new(histogram)).unwrap();
    assert_eq!(text, r#"{"kind":"histogram","version":1,"state":[0,1]}"#);
    assert_eq!(serde_json::from_str::<Kept<Histogram>>(&text).unwrap().state.counts(), [0, 1]);
    let error = serde_json::from_str::<Kept<Cells>>(&text).unwrap_err().to_string();
    assert!(error.contains(r#"invalid value: string "histogram", expected cells"#), "{error}");
    let newer = r#"{"kind":"histogram","version":7,"state":{"sparse":[]}}"#;
    let error = serde_json::from_str::<Kept<Histogram>>(newer).unwrap_err().to_string();
    assert!(error.contains("histogram of version 7, but this program reads version 1"), "{error}");
}
