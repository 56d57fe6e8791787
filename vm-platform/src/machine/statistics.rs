//! What the engine has counted, for people.

use vm_core::{Figure, Statistic};
use vm_engine::{Engine, VcpuStats};
use vm_frontend::Guest;

/// Figures of one virtual CPU. `translates` says whether there is a translator: an operation that translated code has
/// the interpreter run counts as a whole instruction that was not translated.
pub(super) fn of_vcpu<'a>(
    stats: &VcpuStats,
    translates: bool,
    helpers: impl Iterator<Item = (&'a str, u64)>,
) -> impl Iterator<Item = Statistic> {
    let counters = stats.counters;
    let interpreted = match translates {
        true => (counters.interpreted + counters.steps).min(stats.retired),
        false => stats.retired,
    };
    let translated = stats.retired - interpreted;
    let misses = counters.tlb_misses;
    let count = |name: &'static str, count| (name, Some(Figure::Count(count)));
    let figures = [
        count("guest instructions retired", stats.retired),
        count("of these in translated code", translated),
        (
            "share in translated code",
            Figure::percent(translated, stats.retired),
        ),
        count("operations interpreted for translated code", counters.steps),
        count("blocks translated", counters.translated),
        count("guest instructions in them", counters.translated_insns),
        count("nanoseconds to translate them", counters.translation_ns),
        (
            "nanoseconds for each guest instruction",
            Figure::ratio(counters.translation_ns, counters.translated_insns),
        ),
        (
            "bytes of host code for each guest instruction",
            Figure::ratio(
                counters.hot_code_bytes + counters.cold_code_bytes,
                counters.translated_insns,
            ),
        ),
        (
            "bytes of it on the way through",
            Figure::ratio(counters.hot_code_bytes, counters.translated_insns),
        ),
        count("block lookups", counters.lookups),
        count("accesses that missed the TLB", misses),
        (
            "TLB hit rate",
            Figure::percent(counters.accesses.saturating_sub(misses), counters.accesses),
        ),
        count("TLB fills", stats.tlb.fills),
        count("TLB flushes", stats.tlb.flushes),
        count("TLB page flushes", stats.tlb.page_flushes),
        count("device accesses", counters.device_accesses),
        count("exceptions", counters.exceptions),
        count("interrupts", counters.interrupts),
        count("helper calls", stats.helper_calls.iter().sum()),
    ];
    let figures = figures
        .into_iter()
        .filter_map(|(name, figure)| Some((name.into(), figure?)));
    let helpers = helpers
        .filter(|&(_, calls)| calls != 0)
        .map(|(name, calls)| (format!("calls of {name}").into(), Figure::Count(calls)));
    figures.chain(Vec::from_iter(helpers))
}

/// Figures that all virtual CPUs share.
pub(super) fn of_engine<G: Guest>(engine: &Engine<G>) -> impl Iterator<Item = Statistic> {
    let cache = engine.cache_stats();
    let (compared, disturbed) = engine.lockstep_counts();
    [
        ("blocks in cache", cache.blocks as u64),
        ("bytes of code in cache", cache.bytes as u64),
        ("bytes of the table of code", cache.table_bytes as u64),
        ("evictions of old code", cache.evictions),
        ("code invalidations", cache.invalidations),
        ("blocks compared with the interpreter", compared),
        ("blocks not compared for a device's writes", disturbed),
    ]
    .into_iter()
    .map(|(name, count)| (name.into(), Figure::Count(count)))
}
