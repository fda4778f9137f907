// SPDX-License-Identifier: Apache-2.0
// llguidance as llguidance.cpp sees it: a vocabulary, and grammars over it. Nothing here panics into C++: every function
// catches, and a failure is a message. Pointers come from this file and go back to it; one matcher is used by one
// thread at a time, a vocabulary by any number.

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{panic_utils, regex_to_lark, Matcher, ParserFactory};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Where a message goes: its bytes, cut at `size`, and how many there are.
#[repr(C)]
pub struct BatonMessage {
    text: *mut u8,
    size: usize,
    length: usize,
}

pub struct BatonVocabulary {
    factory: ParserFactory,
    /// Stands for "the output may end here": the id behind the last token.
    end: u32,
}

pub struct BatonMatcher {
    matcher: Matcher,
    end: u32,
}

/// Between the parts of a JSON text: one space, or a line break and an indentation. Without a bound a model may write
/// white space for ever.
const WHITE_SPACE: &str = r"\x20|\x0A\x20{0,16}";

fn say(message: *mut BatonMessage, error: &str) {
    if message.is_null() {
        return;
    }
    // What comes behind the first line is a picture of the place, a state of the parser, or where a panic came from; but
    // for what is wrong with an expression. "at 1(8): " is a place in what was made of it.
    let mut lines = error.lines();
    let mut line = lines.next().unwrap_or("").trim_end_matches(':').to_string();
    if line.starts_with("at ") {
        if let Some(place) = line.find(": ") {
            line.drain(..place + 2);
        }
    }
    if let Some(reason) = lines.find_map(|one| one.strip_prefix("error: ")) {
        line = format!("{line}: {reason}");
    }
    unsafe {
        let to = &mut *message;
        to.length = line.len().min(to.size);
        std::ptr::copy_nonoverlapping(line.as_ptr(), to.text, to.length);
    }
}

fn guarded<T>(message: *mut BatonMessage, failed: T, work: impl FnOnce() -> Result<T, String>) -> T {
    let done = panic_utils::catch_unwind(AssertUnwindSafe(|| Ok(work())));
    match done {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            say(message, &error);
            failed
        }
        Err(error) => {
            say(message, &error.to_string());
            failed
        }
    }
}

/// Token t is bytes[offsets[t] .. offsets[t + 1]); one without bytes never comes. Null: see `message`.
///
/// # Safety
/// `offsets` has count + 1 entries, ascending, the last of which is the length of `bytes`.
#[no_mangle]
pub unsafe extern "C" fn baton_llg_vocabulary(
    bytes: *const u8,
    offsets: *const u32,
    count: u32,
    message: *mut BatonMessage,
) -> *mut BatonVocabulary {
    guarded(message, std::ptr::null_mut(), || {
        let offsets = std::slice::from_raw_parts(offsets, count as usize + 1);
        let length = offsets[count as usize] as usize;
        let bytes = if length == 0 { &[] } else { std::slice::from_raw_parts(bytes, length) };
        let mut words: Vec<Vec<u8>> =
            offsets.windows(2).map(|ends| bytes[ends[0] as usize..ends[1] as usize].to_vec()).collect();
        // A special token's bytes: no text begins with this one.
        words.push(b"\xFFend".to_vec());
        let trie = TokTrie::from(&TokRxInfo::new(count + 1, count), &words);
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&tokens, InferenceCapabilities::default(), &slices)
            .map_err(|error| error.to_string())?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Box::into_raw(Box::new(BatonVocabulary { factory, end: count })))
    })
}

/// # Safety
/// `vocabulary` comes from baton_llg_vocabulary and is not used afterwards; or null.
#[no_mangle]
pub unsafe extern "C" fn baton_llg_free_vocabulary(vocabulary: *mut BatonVocabulary) {
    guarded(std::ptr::null_mut(), (), || {
        if !vocabulary.is_null() {
            drop(Box::from_raw(vocabulary));
        }
        Ok(())
    })
}

fn grammar_of(json: bool, text: &str) -> Result<TopLevelGrammar, String> {
    if !json {
        // Classes mean what they mean in JavaScript.
        let pattern = regex_to_lark(text, "dw");
        return Ok(TopLevelGrammar::from_lark(format!("start: /{pattern}/")));
    }
    let schema: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut schema = match schema {
        serde_json::Value::Bool(true) => serde_json::json!({}),
        other => other,
    };
    if let Some(object) = schema.as_object_mut() {
        let options = serde_json::json!({ "whitespace_pattern": WHITE_SPACE });
        object.insert("x-guidance".to_string(), options);
    }
    Ok(TopLevelGrammar::from_json_schema(schema))
}

/// A matcher before its first token, for a JSON Schema or for a regular expression. Null: see `message`.
///
/// # Safety
/// `text` has `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn baton_llg_matcher(
    vocabulary: *const BatonVocabulary,
    json: bool,
    text: *const u8,
    length: usize,
    message: *mut BatonMessage,
) -> *mut BatonMatcher {
    guarded(message, std::ptr::null_mut(), || {
        let bytes = if length == 0 { &[] } else { std::slice::from_raw_parts(text, length) };
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let vocabulary = &*vocabulary;
        let parser = vocabulary.factory.create_parser(grammar_of(json, text)?);
        let matcher = Matcher::new(parser);
        if let Some(error) = matcher.get_error() {
            return Err(error);
        }
        Ok(Box::into_raw(Box::new(BatonMatcher { matcher, end: vocabulary.end })))
    })
}

/// One that goes on by itself. Null: see `message`.
///
/// # Safety
/// `from` is a matcher that nobody changes meanwhile.
#[no_mangle]
pub unsafe extern "C" fn baton_llg_clone(
    from: *const BatonMatcher,
    message: *mut BatonMessage,
) -> *mut BatonMatcher {
    guarded(message, std::ptr::null_mut(), || {
        let from = &*from;
        Ok(Box::into_raw(Box::new(BatonMatcher { matcher: from.matcher.deep_clone(), end: from.end })))
    })
}

/// # Safety
/// `matcher` is not used afterwards; or null.
#[no_mangle]
pub unsafe extern "C" fn baton_llg_free_matcher(matcher: *mut BatonMatcher) {
    guarded(std::ptr::null_mut(), (), || {
        if !matcher.is_null() {
            drop(Box::from_raw(matcher));
        }
        Ok(())
    })
}

/// The tokens that may come next, as bits of `words`: token t is bit t % 32 of word t / 32. 1: the output may also end
/// here; 0: it may not; -1: see `message`.
///
/// # Safety
/// `words` has room for a bit of every token.
#[no_mangle]
pub unsafe extern "C" fn baton_llg_mask(
    matcher: *mut BatonMatcher,
    words: *mut u32,
    count: usize,
    message: *mut BatonMessage,
) -> i32 {
    guarded(message, -1, || {
        let BatonMatcher { matcher, end } = &mut *matcher;
        let mask = matcher.compute_mask_or_eos().map_err(|error| error.to_string())?;
        let ends = mask.is_allowed(*end);
        let from = mask.as_slice();
        let to = std::slice::from_raw_parts_mut(words, count);
        let both = count.min(from.len());
        to[..both].copy_from_slice(&from[..both]);
        to[both..].fill(0);
        if let Some(word) = to.get_mut(*end as usize / 32) {
            *word &= !(1 << (*end % 32));
        }
        Ok(i32::from(ends))
    })
}

/// Takes the next token of the output. 0; or -1: see `message`.
///
/// # Safety
/// `matcher` comes from this file.
#[no_mangle]
pub unsafe extern "C" fn baton_llg_accept(
    matcher: *mut BatonMatcher,
    token: u32,
    message: *mut BatonMessage,
) -> i32 {
    guarded(message, -1, || {
        let matcher = &mut (*matcher).matcher;
        matcher.consume_token(token).map(|()| 0).map_err(|error| error.to_string())
    })
}

/// Whether the output may end here: 2: and nothing may follow; 1: and may go on; 0: it may not.
///
/// # Safety
/// `matcher` comes from this file.
#[no_mangle]
pub unsafe extern "C" fn baton_llg_ends(matcher: *mut BatonMatcher) -> i32 {
    guarded(std::ptr::null_mut(), 0, || {
        let matcher = &mut (*matcher).matcher;
        if matcher.get_error().is_some() {
            return Ok(0);
        }
        if matcher.is_stopped() {
            return Ok(2);
        }
        Ok(i32::from(matcher.is_accepting().map_err(|error| error.to_string())?))
    })
}
