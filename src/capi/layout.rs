//! The structs are those of the header: `tests/capi_abi.golden` is what a C compiler makes of it.

use super::progress::Report;
use super::scheduler::FoundationArgument;
use super::structs::Struct;
use super::{generate, init, model, pictures, pipeline, tensor, train, unet, unet_run};

fn check<T>(name: &str) {
    let golden = include_str!("../../tests/capi_abi.golden");
    let size = golden.lines().find_map(|line| line.strip_prefix(&format!("sizeof {name} ")));
    assert_eq!(size, Some(size_of::<T>().to_string().as_str()), "{name}");
}

fn check_struct<T: Struct>() {
    check::<T>(T::NAME);
}

#[cfg(target_pointer_width = "64")]
#[test]
fn sizes_are_those_of_the_header() {
    check_struct::<init::InitOptions>();
    check_struct::<tensor::TensorArgument>();
    check_struct::<tensor::InputArgument>();
    check_struct::<unet::UnetOptions>();
    check_struct::<unet_run::StepArgument>();
    check_struct::<unet_run::RowArgument>();
    check_struct::<unet_run::MarkArgument>();
    check_struct::<model::SaveOptions>();
    check_struct::<pipeline::OpenOptions>();
    check_struct::<generate::GenerateOptions>();
    check_struct::<generate::UseArgument>();
    check_struct::<pictures::PictureArgument>();
    check_struct::<train::TrainOptions>();
    check_struct::<train::SubjectArgument>();
    check_struct::<train::PhotosArgument>();
    check::<FoundationArgument>("infusion_foundation");
    check::<Report>("infusion_report");
}
