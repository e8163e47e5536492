//! From a teacher's vectors to trained students: the shape of each, what it must learn, its run of
//! training.

use sembla_models::trainable::Trainable;
use sembla_models::{CancelToken, Model, ModelKind};
use sembla_training::losses::LossOptions;
use sembla_training::pca::{Pca, to_unit};
use sembla_training::{
    Dataset, Evaluator, Event, Labels, Network, Objective, Options, Target, Training, distil,
    losses, static_student,
};

use super::work::Work;
use super::{DistilRequest, Told};
use crate::failure::{Failure, Result};
use crate::input::Notice;
use crate::numbers::count;
use crate::train::failure;
use crate::train::rows::Rows;

/// A student to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// It keeps so many layers.
    Layers(usize),
    /// It keeps all layers.
    Whole,
    /// It is a table of the teacher's tokens.
    Static,
}

impl Plan {
    /// The name of its folder.
    pub(super) fn name(self) -> String {
        match self {
            Self::Layers(layers) => format!("layers-{layers}"),
            Self::Whole => "student".into(),
            Self::Static => "static".into(),
        }
    }
}

/// What all students of a run have in common.
pub(super) struct School<'a> {
    pub(super) request: &'a DistilRequest,
    pub(super) cancel: &'a CancelToken,
    /// Texts to learn: originals, and after them their translations.
    pub(super) texts: Vec<String>,
    /// The vector of each.
    targets: Labels,
    /// What cuts the teacher's vectors, as a dense module of students made of it.
    cut: Option<Pca>,
    pub(super) evaluator: Option<Evaluator>,
    /// What is told of the cut before the first student.
    news: Option<(usize, usize, f64)>,
}

impl<'a> School<'a> {
    /// Readies what students learn from: `vectors` are the teacher's of the first of `columns`.
    ///
    /// # Errors
    /// A base that can't be trained, sizes that don't fit, and rows of `eval` that can't be
    /// measured on.
    pub(super) fn open(
        request: &'a DistilRequest,
        teacher: &'a Model,
        vectors: Vec<f32>,
        columns: Vec<Vec<String>>,
        eval: Option<&Rows>,
        cancel: &'a CancelToken,
    ) -> Result<Self> {
        let base = Trainable::open(request.base())?;
        check_base(request, &base)?;
        let from = teacher.info().dimension;
        let to = match request.needs_texts() {
            true => request.dimensions.unwrap_or(base.width()),
            false => from,
        };
        if to > from {
            return Err(Failure::user(format!(
                "students would have vectors of {to} components and the teacher '{}' has {from}; \
                 a student's can't be longer than the teacher's",
                teacher.info().name
            )));
        }
        let unit = base.normalizes();
        let evaluator = match eval {
            Some(eval) => {
                let network = Network::of(base).map_err(failure)?;
                let loss = eval.usual_loss(false)?;
                Some(Evaluator::new(eval.dataset(&network, loss, cancel)?))
            }
            None => None,
        };
        let (mut values, mut cut, mut news) = (vectors, None, None);
        if to < from {
            let pca = Pca::fit_sample(&values, from, to).map_err(failure)?;
            values = pca.project(&values, false);
            news = Some((from, to, pca.explained));
            cut = Some(pca);
        }
        if unit {
            to_unit(&mut values, to);
        }
        if columns.len() > 1 {
            values.extend_from_within(..);
        }
        let texts = columns.into_iter().flatten().collect();
        let targets = Labels::Vectors { values, width: to };
        Ok(Self { request, cancel, texts, targets, cut, evaluator, news })
    }

    /// Makes one student in the work folder, unless it is there already.
    ///
    /// # Errors
    /// Those of a run of training.
    pub(super) fn teach(
        &mut self,
        plan: Plan,
        work: &Work,
        notice: Notice<'_>,
        tell: &mut dyn FnMut(Told<'_>),
    ) -> Result<()> {
        if let Some((from, to, explained)) = self.news.take() {
            tell(Told::Cut { from, to, explained });
        }
        let (name, request) = (plan.name(), self.request);
        let target = Target { output: work.student(&name), restart: false };
        if target.output.is_dir() {
            tell(Told::Kept(&name));
            return Ok(());
        }
        tell(Told::Begins(&name));
        if plan == Plan::Static {
            let mut teacher = Network::open(&request.teacher).map_err(failure)?;
            let dimensions = request.dimensions.unwrap_or(static_student::DIMENSIONS);
            let mut observe = |done, all| tell(Told::Tokens { done, all });
            let output = &target.output;
            return static_student::make(
                &mut teacher,
                dimensions,
                output,
                self.cancel,
                &mut observe,
            )
            .map(drop)
            .map_err(failure);
        }
        let (mut student, is_whole) = self.student(plan)?;
        if is_whole && request.student.is_none() && !request.multilingual {
            // It has all that the teacher has, and gives its vectors already.
            return student.save(&target.output).map_err(failure);
        }
        let loss = losses::find("mse").map_err(failure)?;
        let columns = [self.texts.clone()];
        let data = Dataset::read(&student, loss, &columns, self.targets.clone(), self.cancel)
            .map_err(failure)?;
        let truncated = data.truncated();
        if truncated > 0 {
            notice(&format!(
                "{} of {} texts are longer than the student's limit and are truncated",
                count(truncated as u64),
                count(data.rows() as u64)
            ));
        }
        let objective = Objective { loss, options: LossOptions::default(), matryoshka: Vec::new() };
        let training = Training {
            data: &data,
            objective: &objective,
            options: &Options {
                learning_rate: request.options.learning_rate.or(usual_rate(student.kind())),
                ..request.options.clone()
            },
            evaluator: self.evaluator.as_ref(),
            target: &target,
        };
        let mut observe = |event: Event| tell(Told::Training(&event));
        sembla_training::train(&mut student, &training, self.cancel, &mut observe)
            .map(drop)
            .map_err(failure)
    }

    /// A student before its training, and whether it keeps all layers.
    fn student(&self, plan: Plan) -> Result<(Network, bool)> {
        let base = self.request.base();
        let (mut student, is_whole) = match plan {
            Plan::Layers(layers) => (
                distil::with_layers(base, layers).map_err(failure)?,
                all_layers(base) == Some(layers),
            ),
            Plan::Whole | Plan::Static => (Trainable::open(base)?, true),
        };
        if let (Some(cut), None) = (&self.cut, &self.request.student) {
            student.add_dense(cut.components.clone(), cut.mean.len())?;
        }
        Ok((Network::of(student).map_err(failure)?, is_whole))
    }
}

/// The highest learning rate, unless another is given: that of the published experiments, and the
/// usual one for a static student.
fn usual_rate(kind: ModelKind) -> Option<f32> {
    (kind != ModelKind::Static).then_some(1e-4)
}

/// The number of layers of a model; `None` where it can't be taken apart.
pub(super) fn all_layers(spec: &sembla_models::ModelSpec) -> Option<usize> {
    Trainable::open(spec).ok().map(|model| model.layers()).filter(|layers| *layers > 0)
}

/// Checks what students begin with.
fn check_base(request: &DistilRequest, base: &Trainable) -> Result<()> {
    if base.kind() == ModelKind::CrossEncoder {
        return Err(Failure::user(format!(
            "model '{}' scores pairs; a student must give vectors",
            base.name()
        )));
    }
    let all = base.layers();
    if let Some(wrong) = request.layers.iter().find(|layers| **layers == 0 || **layers > all) {
        return Err(Failure::user(match all {
            0 => format!("model '{}' is static and has no layers to choose from", base.name()),
            _ => format!("model '{}' has {all} layers; --layers can't be {wrong}", base.name()),
        }));
    }
    Ok(())
}
