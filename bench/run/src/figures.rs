//! Figures of one job over all rounds.

use crate::options::Options;
use crate::peers::Job;

/// A job and what came of it.
pub(crate) struct Measured {
    pub(crate) job: Job,
    /// By metric: of each round, the median of its samples.
    pub(crate) figures: Vec<(String, Vec<f64>)>,
    /// Why it is not measured any more.
    pub(crate) failure: Option<String>,
}

impl Measured {
    pub(crate) fn new(job: Job) -> Measured {
        Measured {
            job,
            figures: Vec::new(),
            failure: None,
        }
    }

    /// Measures it once more, unless it has failed before.
    pub(crate) fn measure(&mut self, options: &Options) {
        if self.failure.is_some() {
            return;
        }
        match self.job.run(options) {
            Ok(samples) => samples
                .chunk_by(|(a, _), (b, _)| a == b)
                .for_each(|samples| self.add(samples)),
            Err(error) => {
                self.figures.clear();
                self.failure = Some(error.to_string());
            }
        }
    }

    /// Adds the samples of one metric.
    fn add(&mut self, samples: &[(String, f64)]) {
        let (metric, _) = &samples[0];
        let figure = Spread::of(samples.iter().map(|(_, ns)| *ns)).median;
        match self.figures.iter_mut().find(|(name, _)| name == metric) {
            Some((_, figures)) => figures.push(figure),
            None => self.figures.push((metric.clone(), vec![figure])),
        }
    }
}

/// How figures lie; quartiles are interpolated.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) lower: f64,
    pub(crate) median: f64,
    pub(crate) upper: f64,
}

impl Spread {
    /// There must be one value at least.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values = values.collect::<Vec<_>>();
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (
                values[place.floor() as usize],
                values[place.ceil() as usize],
            );
            below + (above - below) * place.fract()
        };
        Spread {
            min: values[0],
            lower: at(0.25),
            median: at(0.5),
            upper: at(0.75),
        }
    }
}
