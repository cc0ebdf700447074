//! Runs of a session: plain ones, ones with outputs bound to the device, and resident ones.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{OutputSelector, RunOptions, SessionInputValue, SharedSessionInner};
use ort::value::{DynTensorValueType, DynValue};

use super::{Feed, Fetch, GRAPH, Inner, NO_GRAPH, RESIDENTS, Session};
use crate::runtime::outputs::{DeviceTensor, Outputs, Value};
use crate::runtime::resident::{Bound, Placement, Resident};
use crate::runtime::{Error, Result, Tensor};

impl Session {
    /// Runs the model and fetches every output to the host.
    ///
    /// # Errors
    /// A tensor does not fit its input, an input is missing or unknown, or the run fails.
    pub fn run(&self, feeds: &[(&str, &Tensor)]) -> Result<Outputs> {
        let feeds: Vec<(&str, Feed<'_>)> = feeds.iter().map(|&(name, tensor)| (name, tensor.into())).collect();
        self.run_fetching(&feeds, |_| Fetch::Host)
    }

    /// Runs the model; `fetch` says by name what becomes of each output.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_fetching(&self, feeds: &[(&str, Feed<'_>)], fetch: impl Fn(&str) -> Fetch) -> Result<Outputs> {
        self.check_feeds(feeds)?;
        let failed = |error: ort::Error| Error::Run { model: self.model.to_path_buf(), reason: error.to_string() };
        let laid_out = lay_out(feeds);
        if let Some(memory) = self.provider.device_memory() {
            return self.run_bound(feeds, &laid_out, fetch, memory).map_err(failed);
        }
        let mut inputs = Vec::with_capacity(feeds.len());
        for ((name, feed), standard) in feeds.iter().zip(&laid_out) {
            let value = match (feed, standard) {
                (_, Some(tensor)) => tensor.borrowed(),
                (Feed::Host(tensor), None) => tensor.borrowed(),
                (Feed::Device(tensor), None) => Ok(SessionInputValue::from(&*tensor.value)),
            };
            inputs.push((Cow::from(*name), value.map_err(failed)?));
        }
        self.run_plainly(inputs, fetch).map_err(failed)
    }

    /// Copies a tensor to where this session computes, to be fed to any number of runs.
    ///
    /// # Errors
    /// The device is out of memory or cannot be reached.
    pub fn upload(&self, tensor: &Tensor) -> Result<DeviceTensor> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner).session.inner();
        let copy = tensor.owned()?;
        let value = match self.provider.device_memory() {
            Some((device, id)) => copy.downcast::<DynTensorValueType>()?.to(device, id)?.into_dyn(),
            None => copy,
        };
        Ok(DeviceTensor::new(value, inner)?)
    }

    /// Runs for one output, of `shape`, with a binding that is kept for the next such run: feeds that are as
    /// they were are not sent to the device again. On a provider that computes in the host's memory this is
    /// an ordinary run, which copies nothing.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_resident(&self, feeds: &[(&str, &Tensor)], output: &str, shape: &[usize]) -> Result<Tensor> {
        let feeds: Vec<(&str, Feed<'_>)> = feeds.iter().map(|&(name, tensor)| (name, tensor.into())).collect();
        match self.provider.placement(self.records) {
            Some(placement) => self.run_at(&placement, &feeds, &[(output, shape, Fetch::Host)])?.0.take(output),
            None => {
                let fetch = |name: &str| if name == output { Fetch::Host } else { Fetch::Skip };
                self.run_fetching(&feeds, fetch)?.take(output)
            }
        }
    }

    /// Runs as [`Session::run_fetching`] does, for outputs whose shapes are known. A session that records CUDA
    /// graphs does so and replays this run; outputs that stay on the device are then rewritten by the next such run,
    /// and sessions that record read them where they are: whoever shares the session holds [`Session::turn`].
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_again(&self, feeds: &[(&str, Feed<'_>)], outputs: &[(&str, &[usize], Fetch)]) -> Result<Outputs> {
        match self.provider.placement(self.records).filter(|placement| placement.fixed) {
            Some(placement) => Ok(self.run_at(&placement, feeds, outputs)?.0),
            None => {
                let wanted = |name: &str| outputs.iter().find(|(known, ..)| *known == name);
                self.run_fetching(feeds, |name| wanted(name).map_or(Fetch::Skip, |(.., fetch)| *fetch))
            }
        }
    }

    /// Runs with a resident binding; answers with the outputs and how many feeds were sent.
    pub(super) fn run_at(
        &self,
        placement: &Placement,
        feeds: &[(&str, Feed<'_>)],
        outputs: &[(&str, &[usize], Fetch)],
    ) -> Result<(Outputs, usize)> {
        let failed = |error: ort::Error| Error::Run { model: self.model.to_path_buf(), reason: error.to_string() };
        self.check_feeds(feeds)?;
        let wanted = outputs.iter().filter(|(.., fetch)| *fetch != Fetch::Skip);
        let wanted: Vec<Bound> = wanted.map(|output| self.bound(*output)).collect::<Result<_>>()?;
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { session, residents, bindings } = &mut *inner;
        let sent = match residents.iter().position(|resident| resident.fits(feeds, &wanted)) {
            Some(known) => {
                residents[..=known].rotate_right(1);
                residents[0].update(feeds).map_err(failed)?
            }
            None => {
                *bindings += 1;
                residents.truncate(RESIDENTS - 1);
                residents.insert(0, Resident::new(session, placement, feeds, &wanted, *bindings).map_err(failed)?);
                feeds.len()
            }
        };
        let values = residents[0].run(session).map_err(failed)?;
        Ok((Outputs { model: Arc::clone(&self.model), values }, sent))
    }

    fn bound(&self, (name, shape, fetch): (&str, &[usize], Fetch)) -> Result<Bound> {
        let wrong = |reason: String| Error::Tensor { model: self.model.to_path_buf(), tensor: name.to_owned(), reason };
        let spec = self.output(name).ok_or_else(|| wrong("is no output of this model".to_owned()))?;
        match spec.mismatch(spec.element_type, shape) {
            Some(reason) => Err(wrong(reason)),
            None => Ok(Bound {
                name: name.to_owned(),
                element_type: spec.element_type,
                shape: shape.to_owned(),
                stays: fetch == Fetch::Device,
            }),
        }
    }

    /// Runs with outputs bound to the device's memory, so that those kept there are never copied.
    ///
    /// Host tensors are bound as copies that ONNX Runtime owns: binding a borrowed tensor deadlocks.
    pub(super) fn run_bound(
        &self,
        feeds: &[(&str, Feed<'_>)],
        laid_out: &[Option<Tensor>],
        fetch: impl Fn(&str) -> Fetch,
        (device, device_id): (AllocationDevice<'static>, i32),
    ) -> ort::Result<Outputs> {
        let mut locked = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let session = &mut locked.session;
        let inner = session.inner();
        let mut binding = session.create_binding()?;
        for ((name, feed), standard) in feeds.iter().zip(laid_out) {
            match (feed, standard) {
                (_, Some(tensor)) => binding.bind_input(*name, &tensor.owned()?)?,
                (Feed::Host(tensor), None) => binding.bind_input(*name, &tensor.owned()?)?,
                (Feed::Device(tensor), None) => binding.bind_input(*name, &*tensor.value)?,
            }
        }
        let on_device = MemoryInfo::new(device, device_id, AllocatorType::Device, MemoryType::Default)?;
        let on_host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
        for spec in &self.outputs {
            match fetch(&spec.name) {
                Fetch::Skip => {}
                Fetch::Device => binding.bind_output_to_device(&spec.name, &on_device)?,
                Fetch::Host => binding.bind_output_to_device(&spec.name, &on_host)?,
            }
        }
        binding.synchronize_inputs()?;
        let mut run = RunOptions::new()?;
        if self.records {
            run.set(GRAPH, NO_GRAPH)?;
        }
        let mut results = session.run_binding_with_options(&binding, &run)?;
        let mut values = Vec::new();
        for spec in &self.outputs {
            let Some(value) = results.remove(&spec.name) else { continue };
            values.push((spec.name.clone(), collect(value, fetch(&spec.name), &inner)?));
        }
        Ok(Outputs { model: Arc::clone(&self.model), values })
    }

    fn run_plainly(
        &self,
        inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)>,
        fetch: impl Fn(&str) -> Fetch,
    ) -> ort::Result<Outputs> {
        let wanted = self.outputs.iter().filter(|spec| fetch(&spec.name) != Fetch::Skip);
        let selector = wanted.fold(OutputSelector::no_default(), |selector, spec| selector.with(&spec.name));
        let options = RunOptions::new()?.with_outputs(selector);
        let mut locked = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let session = &mut locked.session;
        let inner = session.inner();
        let outputs = session.run_with_options(inputs, &options)?;
        let mut values = Vec::with_capacity(outputs.len());
        for (name, value) in outputs {
            values.push((name.to_owned(), collect(value, fetch(name), &inner)?));
        }
        Ok(Outputs { model: Arc::clone(&self.model), values })
    }

    fn check_feeds(&self, feeds: &[(&str, Feed<'_>)]) -> Result<()> {
        let wrong = |tensor: &str, reason: String| Error::Tensor {
            model: self.model.to_path_buf(),
            tensor: tensor.to_owned(),
            reason,
        };
        for (name, feed) in feeds {
            let spec = self.input(name).ok_or_else(|| wrong(name, self.unknown_input()))?;
            let (element_type, shape) = match feed {
                Feed::Host(tensor) => (tensor.element_type(), tensor.shape()),
                Feed::Device(tensor) => (tensor.element_type(), tensor.shape()),
            };
            if let Some(reason) = spec.mismatch(element_type, shape) {
                return Err(wrong(name, reason));
            }
        }
        match self.inputs.iter().find(|spec| !feeds.iter().any(|(name, _)| *name == spec.name)) {
            Some(missing) => Err(wrong(&missing.name, "is an input that was not fed".to_owned())),
            None => Ok(()),
        }
    }

    fn unknown_input(&self) -> String {
        let names: Vec<&str> = self.inputs.iter().map(|spec| spec.name.as_str()).collect();
        format!("is no input of this model, whose inputs are {}", names.join(", "))
    }
}

/// Copies in row-major order of the fed tensors that are laid out otherwise.
fn lay_out(feeds: &[(&str, Feed<'_>)]) -> Vec<Option<Tensor>> {
    let laid_out = feeds.iter().map(|(_, feed)| match feed {
        Feed::Host(tensor) if !tensor.is_standard_layout() => Some((*tensor).clone().into_standard_layout()),
        _ => None,
    });
    laid_out.collect()
}

fn collect(value: DynValue, fetch: Fetch, session: &Arc<SharedSessionInner>) -> ort::Result<Value> {
    match fetch {
        Fetch::Device => Ok(Value::Device(DeviceTensor::new(value, Arc::clone(session))?)),
        Fetch::Host | Fetch::Skip => Ok(Value::Host(Tensor::copy_of(&value)?)),
    }
}
