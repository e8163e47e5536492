//! What is decided before a batch runs: which graph, how many tokens fit, where to cut, which
//! session. Nothing here runs or reads anything.

use std::ops::Range;

use super::fused::places;
use crate::config::TransformerConfig;
use crate::graph::{Form, Fused, GraphPooling, Layout, Task};
use crate::pool::{PoolingMode, Step};
use crate::{Device, ModelError, ModelSpec, Padding, Precision, Result};

/// Tokens of one batch on a processor: small enough that its activations stay in a core's own
/// cache.
const BATCH_TOKENS_CPU: usize = 256;

/// Tokens of one batch on a GPU.
const BATCH_TOKENS_GPU: usize = 16_384;

/// Sessions of a GPU: while one runs a batch, the other's is made.
const SESSIONS_PER_GPU: usize = 2;

/// Places that a packed batch may have for each token of its budget: those of texts that are
/// shorter than the longest are filled when pooling gathers rows.
const PLACES_PER_TOKEN: usize = 2;

/// How often the values of the widest moment of a layer are counted: the allocator keeps pieces of
/// sizes that it has no use for.
const MEMORY_SLACK: usize = 2;

/// Tokens of a text from which attention in 32 bits keeps no scores.
const SCORES_KEPT_F32: usize = 256;

/// What is asked of a graph.
pub(super) struct Wanted<'a> {
    /// How it is to be run.
    pub(super) spec: &'a ModelSpec,
    /// The precision of its weights and arithmetic.
    pub(super) precision: Precision,
    /// What it gives.
    pub(super) task: Task,
    /// The architecture as `config.json` has it, for messages.
    pub(super) model_type: &'a str,
    /// Whether it has a fused graph.
    pub(super) fuses: bool,
    /// Whether it reads images.
    pub(super) of_images: bool,
    /// How the token vectors of a text become one.
    pub(super) pooling: &'a [PoolingMode],
    /// What follows that.
    pub(super) steps: &'a [Step],
}

/// The form of the graph that does what is asked.
///
/// # Errors
/// [`ModelError::BadOption`] for a combination that no graph has.
pub(super) fn form(wanted: &Wanted<'_>) -> Result<Form> {
    let Wanted { spec, precision, .. } = *wanted;
    let on_cpu = spec.device == Device::Cpu;
    let padded = spec.padding == Padding::Longest;
    let refuse = |message: String| Err(ModelError::BadOption(message));
    if precision == Precision::Q8 && !on_cpu {
        return refuse(format!(
            "precision q8 runs on the cpu only; use f32 or f16 on {}",
            spec.device
        ));
    }
    if precision == Precision::Q8 && padded {
        return refuse("padding longest needs precision f32; q8 runs without padding".into());
    }
    if precision == Precision::F16 && on_cpu {
        return refuse("precision f16 runs on a GPU only; use f32 or q8 on the cpu".into());
    }
    if wanted.of_images && !on_cpu {
        return refuse(format!("images run on the cpu only, not on {}", spec.device));
    }
    if wanted.of_images && padded {
        return refuse("images run without padding; leave padding out".into());
    }
    if on_cpu && !padded {
        return Ok(Form::Packed);
    }
    if !wanted.fuses {
        if precision == Precision::F16 {
            return refuse(format!(
                "precision f16 is not available for models of type {}; use f32",
                wanted.model_type
            ));
        }
        return Ok(Form::Padded);
    }
    let pooling = graph_pooling(wanted.task, wanted.pooling);
    Ok(Form::Fused(Fused {
        layout: if padded { Layout::Padded } else { Layout::Packed },
        half: precision == Precision::F16,
        pooling,
        normalise: pooling != GraphPooling::None
            && matches!(wanted.steps.first(), Some(Step::Normalize)),
    }))
}

/// How a fused graph pools: by picking a row, or by sums where all modes are sums.
fn graph_pooling(task: Task, modes: &[PoolingMode]) -> GraphPooling {
    match modes {
        _ if task != Task::Embed => GraphPooling::None,
        [] => GraphPooling::None,
        [PoolingMode::Cls | PoolingMode::LastToken] => GraphPooling::Picked,
        modes if modes.contains(&PoolingMode::Max) => GraphPooling::None,
        modes => GraphPooling::Weighted { modes: modes.len() },
    }
}

/// The precision that runs, of what is asked for and what is stored.
pub(super) fn precision(spec: &ModelSpec, is_quantised: bool) -> Precision {
    let stored =
        if is_quantised && spec.device == Device::Cpu { Precision::Q8 } else { Precision::F32 };
    spec.precision.unwrap_or(stored)
}

/// How many sessions a model has, `threads` threads each, on a machine with so many cores.
pub(super) fn sessions(spec: &ModelSpec, cores: usize) -> usize {
    spec.workers.unwrap_or(match spec.device {
        Device::Cpu => (cores / spec.threads).max(1),
        Device::Cuda(gpus) => SESSIONS_PER_GPU * gpus.numbers().count(),
    })
}

/// Which idle session is lent: one of the device with the fewest at work. `idle` has the device of
/// each session that is idle, `busy` the number of those at work for each device.
pub(super) fn least_busy(idle: impl Iterator<Item = usize>, busy: &[usize]) -> Option<usize> {
    let at_work = |device: usize| busy.get(device).copied().unwrap_or(0);
    idle.enumerate().min_by_key(|(_, device)| at_work(*device)).map(|(place, _)| place)
}

/// Tokens, padding included, that a batch may have.
///
/// # Errors
/// [`ModelError::BadOption`] where GPU memory is limited so that the weights and one text of the
/// longest kind don't fit.
pub(super) fn token_budget(
    spec: &ModelSpec,
    config: Option<&TransformerConfig>,
    precision: Precision,
    parameters: u64,
) -> Result<usize> {
    let usual = match spec.device {
        Device::Cpu => return Ok(spec.batch_tokens.unwrap_or(BATCH_TOKENS_CPU)),
        Device::Cuda(_) => spec.batch_tokens.unwrap_or(BATCH_TOKENS_GPU),
    };
    let (Some(mib), Some(config)) = (spec.device_memory_mib, config) else { return Ok(usual) };
    let element = if precision == Precision::F16 { 2 } else { 4 };
    let weights = parameters.saturating_mul(element);
    let per_token = token_bytes(config, element as usize) as u64;
    let fit = (mib << 20).saturating_sub(weights) / per_token;
    let longest = config.max_tokens();
    if fit < longest as u64 {
        let least = (weights + per_token * longest as u64).div_ceil(1 << 20);
        return Err(ModelError::BadOption(format!(
            "device_memory_mib must be at least {least} for this model and texts of {longest} tokens, got {mib}"
        )));
    }
    Ok(usual.min(usize::try_from(fit).unwrap_or(usize::MAX)))
}

/// GPU memory that a token takes at most, in bytes, when values have `element` bytes each: what
/// attention and the feed-forward block hold at once, and the rows that pooling gathers.
fn token_bytes(config: &TransformerConfig, element: usize) -> usize {
    let longest = config.max_tokens();
    // Scores and shares of all keys are kept where attention has no kernel that does without.
    let kept = match (config.head_width().is_multiple_of(8), element) {
        (false, _) => longest,
        (true, 4) => longest.min(SCORES_KEPT_F32),
        (true, _) => 0,
    };
    let layer = 9 * config.hidden + 2 * config.intermediate + 2 * config.heads * kept;
    let pooling = (1 + PLACES_PER_TOKEN) * config.hidden * 4;
    MEMORY_SLACK * (layer * element + pooling)
}

/// How tokens reach a graph.
pub(super) enum Feed {
    /// One after another, with the start of each text.
    Packed(Box<TransformerConfig>),
    /// Padded to the longest.
    Padded,
    /// As a fused graph takes them.
    Fused(Box<FusedFeed>),
}

/// What the batches of a fused graph are made with.
pub(super) struct FusedFeed {
    pub(super) form: Fused,
    pub(super) config: TransformerConfig,
    /// How the graph pools; none where it does not.
    pub(super) modes: Vec<PoolingMode>,
}

impl Feed {
    /// Whether batches are of texts of about the same length.
    pub(super) fn sorts(&self) -> bool {
        !matches!(self, Self::Packed(_))
    }

    /// Tokens that so many texts count, `total` in all.
    fn cost(&self, texts: usize, longest: usize, total: usize) -> usize {
        match self {
            Self::Packed(_) => total,
            Self::Padded => texts * longest,
            Self::Fused(feed) => {
                let places = texts * places(feed.form.layout, longest, feed.config.max_tokens());
                match feed.form.layout {
                    Layout::Padded => places,
                    Layout::Packed => total.max(places / PLACES_PER_TOKEN),
                }
            }
        }
    }
}

/// Cuts texts of those lengths, in that order, into batches within the budget; a longer text is a
/// batch of its own.
pub(super) fn cut(lengths: &[usize], feed: &Feed, budget: usize) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let (mut start, mut total, mut longest) = (0, 0, 0);
    for (place, length) in lengths.iter().copied().enumerate() {
        let cost = feed.cost(place - start + 1, length.max(longest), total + length);
        if cost > budget && place > start {
            cuts.push(start..place);
            (start, total, longest) = (place, 0, 0);
        }
        total += length;
        longest = longest.max(length);
    }
    if start < lengths.len() {
        cuts.push(start..lengths.len());
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(options: &[(&str, &str)]) -> ModelSpec {
        let mut spec = ModelSpec::new("x");
        for (key, value) in options {
            spec.set(key, value).expect(key);
        }
        spec
    }

    fn form_of(
        options: &[(&str, &str)],
        (fuses, pooling, steps): (bool, &[PoolingMode], &[Step]),
    ) -> std::result::Result<Form, String> {
        let spec = spec(options);
        let wanted = Wanted {
            precision: precision(&spec, false),
            spec: &spec,
            task: Task::Embed,
            model_type: "mymodel",
            fuses,
            of_images: false,
            pooling,
            steps,
        };
        form(&wanted).map_err(|error| error.to_string())
    }

    fn config() -> TransformerConfig {
        let value = serde_json::json!({
            "model_type": "bert", "hidden_size": 384, "num_attention_heads": 12,
            "intermediate_size": 1536, "max_position_embeddings": 512,
        });
        let path = std::path::Path::new("config.json");
        crate::families::Transformer::parse(&value, path).expect("sound").config
    }

    fn feed(layout: Layout) -> Feed {
        let pooling = GraphPooling::None;
        let form = Fused { layout, half: true, pooling, normalise: false };
        Feed::Fused(Box::new(FusedFeed { form, config: config(), modes: Vec::new() }))
    }

    #[test]
    fn a_device_and_a_padding_choose_the_form() {
        use PoolingMode::{Cls, Max, Mean};
        let gpu = ("device", "cuda:1");
        let mean = (true, &[Mean][..], &[Step::Normalize][..]);
        assert_eq!(form_of(&[], mean), Ok(Form::Packed));
        let weighted = GraphPooling::Weighted { modes: 1 };
        let fused = |layout, half| {
            Ok(Form::Fused(Fused { layout, half, pooling: weighted, normalise: true }))
        };
        assert_eq!(form_of(&[gpu], mean), fused(Layout::Packed, false));
        assert_eq!(form_of(&[gpu, ("precision", "f16")], mean), fused(Layout::Packed, true));
        assert_eq!(form_of(&[("padding", "longest")], mean), fused(Layout::Padded, false));
        assert_eq!(form_of(&[gpu], (false, &[Mean], &[])), Ok(Form::Padded));
        let pooled = |modes: &[PoolingMode]| match form_of(&[gpu], (true, modes, &[])) {
            Ok(Form::Fused(Fused { pooling, normalise: false, .. })) => pooling,
            other => panic!("{other:?}"),
        };
        assert_eq!(pooled(&[Cls]), GraphPooling::Picked);
        assert_eq!(pooled(&[Cls, Mean]), GraphPooling::Weighted { modes: 2 });
        assert_eq!(pooled(&[Max, Mean]), GraphPooling::None);
        assert_eq!(pooled(&[]), GraphPooling::None);
    }

    #[test]
    fn what_no_graph_has_is_refused() {
        let mean = (true, &[PoolingMode::Mean][..], &[][..]);
        let gpu = ("device", "cuda:0,cuda:1");
        let f16 = ("precision", "f16");
        let q8 = ("precision", "q8");
        for (options, fuses, named) in [
            (&[f16][..], true, "on a GPU only"),
            (&[gpu, q8], true, "use f32 or f16 on cuda:0,cuda:1"),
            (&[("padding", "longest"), q8], true, "padding longest needs precision f32"),
            (&[gpu, f16], false, "models of type mymodel"),
        ] {
            let message = form_of(options, (fuses, mean.1, mean.2)).expect_err(named);
            assert!(message.contains(named), "{message}");
        }
    }

    #[test]
    fn stored_eight_bits_become_floats_on_a_gpu() {
        assert_eq!(precision(&spec(&[]), true), Precision::Q8);
        assert_eq!(precision(&spec(&[]), false), Precision::F32);
        assert_eq!(precision(&spec(&[("device", "cuda:0")]), true), Precision::F32);
    }

    #[test]
    fn every_gpu_has_its_sessions_and_its_share() {
        assert_eq!(sessions(&spec(&[("threads", "2")]), 8), 4);
        assert_eq!(sessions(&spec(&[("device", "cuda:0,cuda:2,cuda:3")]), 8), 6);
        assert_eq!(sessions(&spec(&[("device", "cuda:0"), ("workers", "5")]), 8), 5);
        assert_eq!(least_busy([1, 0, 1].into_iter(), &[1, 0]), Some(0));
        assert_eq!(least_busy([1, 0, 1].into_iter(), &[0, 1]), Some(1));
        assert_eq!(least_busy([0, 1].into_iter(), &[2, 2]), Some(0));
        assert_eq!(least_busy([].into_iter(), &[0, 0]), None);
    }

    #[test]
    fn device_memory_bounds_the_tokens() {
        let config = config();
        let budget = |options: &[(&str, &str)], precision| {
            token_budget(&spec(options), Some(&config), precision, 22_700_000)
        };
        let gpu = ("device", "cuda:0");
        let of = |options: &[(&str, &str)], precision| budget(options, precision).expect("fits");
        assert_eq!(of(&[], Precision::F32), BATCH_TOKENS_CPU);
        assert_eq!(of(&[gpu], Precision::F32), BATCH_TOKENS_GPU);
        assert_eq!(of(&[gpu, ("batch_tokens", "99")], Precision::F32), 99);
        assert_eq!(of(&[("device_memory_mib", "1")], Precision::F32), BATCH_TOKENS_CPU);
        // 256 MiB less 87 of weights, by 2·((9·384 + 2·1536 + 2·12·256)·4 + 3·384·4) bytes.
        let small = ("device_memory_mib", "256");
        assert_eq!(of(&[gpu, small], Precision::F32), 1606);
        assert!(of(&[gpu, small], Precision::F16) > 6000);
        assert_eq!(of(&[gpu, small, ("batch_tokens", "99")], Precision::F32), 99);
        let none = ("device_memory_mib", "90");
        let message = budget(&[gpu, none], Precision::F32).expect_err("too little").to_string();
        assert!(message.contains("at least 141") && message.contains("got 90"), "{message}");
        assert!(budget(&[gpu, ("device_memory_mib", "141")], Precision::F32).is_ok());
    }

    #[test]
    fn batches_stay_within_the_budget() {
        let packed = Feed::Packed(Box::new(config()));
        assert_eq!(cut(&[3, 4, 3, 11, 1], &packed, 10), [0..3, 3..4, 4..5]);
        assert_eq!(cut(&[4, 4, 3, 2], &Feed::Padded, 8), [0..2, 2..4]);
        assert_eq!(cut(&[], &packed, 10), Vec::<Range<usize>>::new());
        // Padded on a GPU: 16 places each, so four in 64.
        assert_eq!(cut(&[16, 15, 12, 9, 9], &feed(Layout::Padded), 64), [0..4, 4..5]);
        // Packed: 500 and three short ones have 4·512 places, twice the budget.
        assert_eq!(cut(&[500, 9, 9, 9, 9], &feed(Layout::Packed), 1024), [0..4, 4..5]);
        // Of one length: as many as the tokens allow.
        assert_eq!(cut(&[32; 100], &feed(Layout::Packed), 1024).len(), 4);
    }

    /// Whatever comes, every text is in one batch, and only a text alone may be over the budget.
    #[test]
    fn every_text_is_in_one_batch() {
        let mut state = 5u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % 300 + 1
        };
        let mut lengths: Vec<usize> = (0..400).map(|_| next()).collect();
        lengths.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
        for feed in [feed(Layout::Packed), feed(Layout::Padded), Feed::Padded] {
            let cuts = cut(&lengths, &feed, 1000);
            let mut end = 0;
            for range in cuts {
                assert_eq!(range.start, end);
                end = range.end;
                let part = &lengths[range.clone()];
                let cost = feed.cost(range.len(), part[0], part.iter().sum());
                assert!(cost <= 1000 || range.len() == 1, "{range:?} costs {cost}");
            }
            assert_eq!(end, lengths.len());
        }
    }
}
