//! The step level of the C ABI, fed as hosts feed their UNets, against the torch reference of the tiny pipeline.

#[path = "support/capi.rs"]
mod capi;
#[path = "support/loop.rs"]
mod host_loop;
#[path = "support/tiny.rs"]
mod tiny;

use std::ffi::{CString, c_void};
use std::ptr;

use capi::{CONDITIONAL, Host, OTHER, OwnedRow, SEPARATE, SHARED, UNCONDITIONAL, Unet, unet_options};
use half::f16;
use host_loop::{Ddim, Prompt};
use ndarray::{Array4, Axis, concatenate, s};

/// As in `generate_streams.rs`: fifty steps amplify rounding.
const TOLERANCE: f32 = 1e-4;

fn unet(folder: &tempfile::TempDir, options: &capi::UnetOptions) -> Unet {
    let unet = Unet::open(&folder.path().join("unet/model.onnx"), options);
    unet.set("ball", &tiny::source().join("striped.safetensors"), 1.0);
    unet
}

fn close_to(found: &Array4<f32>, golden: &str) {
    let difference = tiny::difference(found, &tiny::golden(golden));
    assert!(difference <= TOLERANCE, "{golden}: {difference}");
}

/// OnnxStack and TensorStack: inputs by position, a float timestep [1], two rows, the unconditional first.
#[test]
fn a_float_timestep_of_one_and_two_rows() {
    let folder = tiny::pipeline();
    let unet = unet(&folder, &capi::UnetOptions { mode: SHARED, ..unet_options() });
    let prompt = Prompt::encode(folder.path());
    let context = Host::of(&prompt.both());
    let rows = [OwnedRow::new(UNCONDITIONAL, 0), OwnedRow::new(CONDITIONAL, 0).marked("ball", &prompt.positions, 1.0)];
    let rows = rows.each_ref().map(OwnedRow::row);
    let latents = Ddim::default().run(|latents, timestep, index| {
        let sample = Host::of(&concatenate![Axis(0), *latents, *latents]);
        let timestep = Host::new(vec![timestep as f32], &[1]);
        let mut out = Host::of(&Array4::<f32>::zeros((2, 4, 8, 8)));
        let mut written = out.tensor_mut();
        let step = capi::step(index, &rows);
        unet.run(&step, &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
        host_loop::guided(out.values())
    });
    close_to(&latents, "shared");
}

/// microsoft/ai-dev-gallery and cassiebreviu/StableDiffusion: an int64 timestep [2], the unconditional row first;
/// F's trajectory is followed by the host's scheduler callback.
#[test]
fn a_whole_timestep_for_each_row_and_a_scheduler_callback() {
    unsafe extern "C" fn follow(user: *mut c_void, foundation: *const capi::Foundation) -> i32 {
        // SAFETY: the library passes a live struct, and `user` is the loop below.
        unsafe {
            let (schedule, given) = (&*user.cast::<Ddim>(), &*foundation);
            let size = (given.channels * given.height * given.width) as usize;
            assert_eq!((given.image, given.rows), (7, 2));
            assert_eq!(std::slice::from_raw_parts(given.roles, 2), [UNCONDITIONAL, CONDITIONAL]);
            let noise = host_loop::guided(std::slice::from_raw_parts(given.noise, 2 * size));
            let sample = std::slice::from_raw_parts(given.sample, size).to_vec();
            let sample = Array4::from_shape_vec((1, 4, 8, 8), sample).unwrap();
            let next = schedule.step(&sample, &noise, given.index);
            std::ptr::copy_nonoverlapping(next.as_ptr(), given.next, size);
            if given.index == 49 {
                close_to(&next, "foundation");
            }
        }
        0
    }
    let folder = tiny::pipeline();
    let schedule = Ddim::default();
    let user = ptr::from_ref(&schedule).cast_mut().cast();
    let prompt = Prompt::encode(folder.path());
    let context = Host::of(&prompt.both());
    let rows = [OwnedRow::new(UNCONDITIONAL, 7), OwnedRow::new(CONDITIONAL, 7).marked("ball", &prompt.positions, 1.0)];
    let rows = rows.each_ref().map(OwnedRow::row);
    let ahead = CString::new("cpu:static_shapes=yes").unwrap();
    for (graphs, provider) in [
        (capi::TWO_GRAPHS, ptr::null()),
        (capi::ONE_GRAPH, ptr::null()),
        (capi::TWO_GRAPHS, ahead.as_ptr()),
        (capi::ONE_GRAPH, ahead.as_ptr()),
    ] {
        let options =
            capi::UnetOptions { graphs, provider, scheduler: Some(follow), scheduler_user: user, ..unet_options() };
        let unet = unet(&folder, &options);
        let latents = schedule.run(|latents, timestep, index| {
            let sample = Host::of(&concatenate![Axis(0), *latents, *latents]);
            let timestep = Host::new(vec![timestep as i64; 2], &[2]);
            let mut out = Host::of(&Array4::<f32>::zeros((2, 4, 8, 8)));
            let mut written = out.tensor_mut();
            let step = capi::Step { steps: 50, ..capi::step(index, &rows) };
            unet.run(&step, &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
            host_loop::guided(out.values())
        });
        close_to(&latents, "separate");
    }
}

/// axodox-machinelearning: N·B rows, the rows of a weighed prompt behind those of the pictures.
#[test]
fn further_rows_of_several_pictures() {
    let folder = tiny::pipeline();
    let unet = unet(&folder, &unet_options());
    let prompt = Prompt::encode(folder.path());
    let (negative, positive) = (prompt.negative.clone(), prompt.positive.clone());
    let context = concatenate![Axis(0), negative, negative, positive, positive, positive, negative];
    let context = Host::of(&context);
    let rows = [
        OwnedRow::new(UNCONDITIONAL, 10),
        OwnedRow::new(UNCONDITIONAL, 11),
        OwnedRow::new(CONDITIONAL, 10).marked("ball", &prompt.positions, 1.0),
        OwnedRow::new(CONDITIONAL, 11),
        OwnedRow::new(OTHER, 11).marked("ball", &prompt.positions, 1.0),
        OwnedRow::new(OTHER, 10),
    ];
    let rows = rows.each_ref().map(OwnedRow::row);
    let latents = Ddim::default().run(|latents, timestep, index| {
        let all = [latents.view(); 6];
        let sample = Host::of(&ndarray::concatenate(Axis(0), &all).unwrap());
        let timestep = Host::new(vec![timestep as i32; 6], &[6]);
        let mut out = Host::of(&Array4::<f32>::zeros((6, 4, 8, 8)));
        let mut written = out.tensor_mut();
        let step = capi::step(index, &rows);
        unet.run(&step, &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
        let noise = Array4::from_shape_vec((6, 4, 8, 8), out.values().to_vec()).unwrap();
        let row = |row: usize| noise.slice(s![row..row + 1, .., .., ..]).to_owned();
        for (one, same) in [(0, 1), (2, 4), (0, 5)] {
            assert!(tiny::difference(&row(one), &row(same)) < 1e-5, "rows {one} and {same} were given the same");
        }
        assert_ne!(row(3), row(2), "only one of them carries the concept");
        host_loop::combined(&row(0), &row(2))
    });
    close_to(&latents, "shared");
}

/// Stable Diffusion ADI: two calls of one row, the positive first; in `separate` mode as in `shared`.
#[test]
fn two_calls_a_step_with_the_positive_first() {
    unsafe extern "C" fn follow(user: *mut c_void, foundation: *const capi::Foundation) -> i32 {
        // SAFETY: the library passes a live struct, and `user` is the loop below.
        unsafe {
            let (schedule, given) = (&*user.cast::<Ddim>(), &*foundation);
            assert_eq!(std::slice::from_raw_parts(given.roles, given.rows), [CONDITIONAL, UNCONDITIONAL]);
            let noise = std::slice::from_raw_parts(given.noise, 512);
            let row = |row: usize| Array4::from_shape_vec((1, 4, 8, 8), noise[256 * row..256 * (row + 1)].to_vec());
            let noise = host_loop::combined(&row(1).unwrap(), &row(0).unwrap());
            let sample = Array4::from_shape_vec((1, 4, 8, 8), std::slice::from_raw_parts(given.sample, 256).to_vec());
            let next = schedule.step(&sample.unwrap(), &noise, given.index);
            std::ptr::copy_nonoverlapping(next.as_ptr(), given.next, 256);
        }
        0
    }
    let folder = tiny::pipeline();
    let schedule = Ddim::default();
    let user = ptr::from_ref(&schedule).cast_mut().cast();
    let prompt = Prompt::encode(folder.path());
    let contexts = [Host::of(&prompt.positive), Host::of(&prompt.negative)];
    let rows = [OwnedRow::new(CONDITIONAL, 1).marked("ball", &prompt.positions, 1.0), OwnedRow::new(UNCONDITIONAL, 1)];
    let rows = rows.each_ref().map(OwnedRow::row);
    let ahead = CString::new("cpu:static_shapes=yes").unwrap();
    let usual = unet_options();
    for (mode, golden, graphs, provider) in [
        (SHARED, "shared", usual.graphs, ptr::null()),
        (SEPARATE, "separate", usual.graphs, ptr::null()),
        (SHARED, "shared", capi::ONE_GRAPH, ahead.as_ptr()),
        (SEPARATE, "separate", capi::ONE_GRAPH, ahead.as_ptr()),
    ] {
        let scheduler = Some(follow as capi::Scheduler);
        let options = capi::UnetOptions { mode, graphs, provider, scheduler, scheduler_user: user, ..unet_options() };
        let unet = unet(&folder, &options);
        let latents = schedule.run(|latents, timestep, index| {
            let sample = Host::of(latents);
            let timestep = Host::new(vec![timestep as i64], &[]);
            let mut noise = Vec::new();
            for (context, row) in contexts.iter().zip(&rows) {
                let mut out = Host::of(&Array4::<f32>::zeros((1, 4, 8, 8)));
                let mut written = out.tensor_mut();
                let step = capi::Step { rows_per_image: 2, ..capi::step(index, std::slice::from_ref(row)) };
                unet.run(&step, &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
                noise.push(Array4::from_shape_vec((1, 4, 8, 8), out.values().to_vec()).unwrap());
            }
            host_loop::combined(&noise[1], &noise[0])
        });
        close_to(&latents, golden);
    }
}

/// Hosts that keep both trajectories get both predictions.
#[test]
fn both_predictions_for_a_host_with_two_trajectories() {
    let folder = tiny::pipeline();
    let unet = unet(&folder, &unet_options());
    let prompt = Prompt::encode(folder.path());
    let context = Host::of(&prompt.both());
    let rows = [OwnedRow::new(UNCONDITIONAL, 0), OwnedRow::new(CONDITIONAL, 0).marked("ball", &prompt.positions, 1.0)];
    let rows = rows.each_ref().map(OwnedRow::row);
    let schedule = Ddim::default();
    let mut foundation = schedule.start();
    let latents = schedule.run(|latents, timestep, index| {
        let [first, second] = [&foundation, latents].map(|it| Host::of(&concatenate![Axis(0), *it, *it]));
        let timestep = Host::new(vec![f64::from(timestep as u32)], &[1]);
        let mut noise = [0, 1].map(|_| Host::of(&Array4::<f32>::zeros((2, 4, 8, 8))));
        let [mut foundation_out, mut out] = noise.each_mut().map(Host::tensor_mut);
        // SAFETY: everything that the structs point to lives during the call.
        let status = unsafe {
            capi::infusion_unet_run2(
                unet.0,
                &capi::step(index, &rows),
                &first.tensor(),
                &second.tensor(),
                &timestep.tensor(),
                &context.tensor(),
                &mut foundation_out,
                &mut out,
            )
        };
        capi::checked(status).unwrap();
        foundation = schedule.step(&foundation, &host_loop::guided(noise[0].values()), index);
        host_loop::guided(noise[1].values())
    });
    close_to(&foundation, "foundation");
    close_to(&latents, "separate");
}

#[test]
fn ids_of_the_prompt_tell_where_concepts_go() {
    let folder = tiny::pipeline();
    let mut tokenizer = 0;
    let path = capi::c_text(folder.path().join("tokenizer"));
    // SAFETY: text and output live during the call.
    capi::checked(unsafe { capi::infusion_tokenizer_create(path.as_ptr(), &mut tokenizer) }).unwrap();
    let unet = unet(&folder, &capi::UnetOptions { tokenizer, ..unet_options() });
    // SAFETY: any handle may be freed; the UNet keeps what it was given.
    unsafe { capi::infusion_tokenizer_free(tokenizer) };
    let prompt = Prompt::encode(folder.path());
    let stated = OwnedRow::new(CONDITIONAL, 0).marked("ball", &prompt.positions, 1.0);
    let found = OwnedRow::new(CONDITIONAL, 0).with_ids(&prompt.ids);
    let [stated, found] = [stated, found].map(|row| first_noise(&unet, &prompt, &row));
    assert_eq!(stated, found);
    let elsewhere = OwnedRow::new(CONDITIONAL, 0).with_ids(&prompt.negative_ids[..3]);
    assert_ne!(first_noise(&unet, &prompt, &elsewhere), found, "no phrase, no concept");
}

/// Noise of the first step for the prompt alone.
fn first_noise(unet: &Unet, prompt: &Prompt, row: &OwnedRow) -> Vec<f32> {
    let rows = [row.row()];
    let step = capi::step(0, &rows);
    let (sample, context) = (Host::of(&Ddim::default().start()), Host::of(&prompt.positive));
    let timestep = Host::new(vec![981_i64], &[]);
    let mut out = Host::of(&Array4::<f32>::zeros((1, 4, 8, 8)));
    let mut written = out.tensor_mut();
    unet.run(&step, &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
    out.values().to_vec()
}

#[test]
fn a_prompt_without_a_concept_is_the_original_bit_for_bit() {
    let folder = tiny::pipeline();
    let options = unet_options();
    let bare = Unet::open(&folder.path().join("unet/model.onnx"), &options);
    let prompt = Prompt::encode(folder.path());
    let plain = first_noise(&bare, &prompt, &OwnedRow::new(CONDITIONAL, 0));
    let loaded = |unet: &Unet| {
        // SAFETY: the output lives during the call.
        let described = capi::json(|out| unsafe { capi::infusion_unet_describe(unet.0, out) });
        let graphs = described["loaded"].as_array().unwrap().clone();
        graphs.iter().map(|it| it["graph"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(loaded(&bare), ["source"], "no second stream was loaded");
    let unet = unet(&folder, &options);
    assert_eq!(first_noise(&unet, &prompt, &OwnedRow::new(CONDITIONAL, 0)), plain);
    assert_eq!(loaded(&unet), ["source"]);
    let marked = OwnedRow::new(CONDITIONAL, 0).marked("ball", &prompt.positions, 1.0);
    let drawn = first_noise(&unet, &prompt, &marked);
    assert_ne!(drawn, plain);
    // SAFETY: texts live during the calls.
    unsafe {
        capi::checked(capi::infusion_unet_set_weight(unet.0, c"ball".as_ptr(), 0.0)).unwrap();
        assert_eq!(first_noise(&unet, &prompt, &marked), plain, "weight 0 is no concept");
        capi::checked(capi::infusion_unet_set_weight(unet.0, c"ball".as_ptr(), 1.0)).unwrap();
        assert_eq!(first_noise(&unet, &prompt, &marked), drawn);
        capi::checked(capi::infusion_unet_remove_concept(unet.0, c"ball".as_ptr())).unwrap();
        let (code, text) = capi::checked(capi::infusion_unet_remove_concept(unet.0, c"ball".as_ptr())).unwrap_err();
        assert!(code == 3 && text.contains("'ball'"), "{code} {text}");
    }
}

#[test]
fn swaps_take_effect_at_the_next_call() {
    let folder = tiny::pipeline();
    let prompt = Prompt::encode(folder.path());
    let row = OwnedRow::new(CONDITIONAL, 0).marked("ball", &prompt.positions, 1.0);
    for graphs in [capi::TWO_GRAPHS, capi::ONE_GRAPH] {
        let options = capi::UnetOptions { graphs, ..unet_options() };
        let kept = unet(&folder, &options);
        for weight in [1.0, 0.5, 1.0, -1.0] {
            // SAFETY: the text lives during the call.
            capi::checked(unsafe { capi::infusion_unet_set_weight(kept.0, c"ball".as_ptr(), weight) }).unwrap();
            let fresh = Unet::open(&folder.path().join("unet/model.onnx"), &options);
            fresh.set("ball", &tiny::source().join("striped.safetensors"), weight);
            assert_eq!(first_noise(&kept, &prompt, &row), first_noise(&fresh, &prompt, &row), "{weight}");
        }
        let elsewhere = OwnedRow::new(CONDITIONAL, 0).marked("ball", &[1], 1.0);
        assert_ne!(first_noise(&kept, &prompt, &elsewhere), first_noise(&kept, &prompt, &row));
    }
}

#[test]
fn handles_may_be_opened_side_by_side() {
    let folder = tiny::pipeline();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| drop(unet(&folder, &unet_options())));
        }
    });
    assert!(folder.path().join("unet/model.shared.onnx").is_file());
}

#[test]
fn half_precision_goes_in_and_out() {
    let folder = tiny::pipeline();
    let unet = unet(&folder, &unet_options());
    let prompt = Prompt::encode(folder.path());
    let row = OwnedRow::new(CONDITIONAL, 0).marked("ball", &prompt.positions, 1.0);
    let expected = first_noise(&unet, &prompt, &row);
    let rows = [row.row()];
    let sample = Host::of(&Ddim::default().start().mapv(f16::from_f32));
    let context = Host::of(&prompt.positive.mapv(f16::from_f32));
    let timestep = Host::new(vec![f16::from_f32(981.0)], &[1]);
    let mut out = Host::new(vec![f16::ZERO; 256], &[1, 4, 8, 8]);
    let mut written = out.tensor_mut();
    unet.run(&capi::step(0, &rows), &sample.tensor(), &timestep.tensor(), &context.tensor(), &mut written).unwrap();
    let most = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let apart = expected.iter().zip(out.values()).fold(0.0_f32, |apart, (a, b)| apart.max((a - b.to_f32()).abs()));
    assert!(apart < 0.01 * most, "halves carry three digits: {apart} of {most}");
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let folder = tiny::pipeline();
    let unet = unet(&folder, &unet_options());
    let prompt = Prompt::encode(folder.path());
    let sample = Host::of(&Ddim::default().start());
    let context = Host::of(&prompt.positive);
    let timestep = Host::new(vec![981_i64], &[]);
    let mut out = Host::of(&Array4::<f32>::zeros((1, 4, 8, 8)));
    let mut refused = |step: &capi::Step, sample: &capi::Tensor, timestep: &capi::Tensor, context: &capi::Tensor| {
        unet.run(step, sample, timestep, context, &mut out.tensor_mut()).unwrap_err()
    };
    let (sample, context, timestep) = (sample.tensor(), context.tensor(), timestep.tensor());
    let row = OwnedRow::new(CONDITIONAL, 0);
    let cases: Vec<(OwnedRow, &str)> = vec![
        (OwnedRow::new(9, 0), "role"),
        (OwnedRow::new(CONDITIONAL, 0).marked("cup", &[1], 1.0), "'cup'"),
        (OwnedRow::new(CONDITIONAL, 0).marked("ball", &[77], 1.0), "77"),
        (OwnedRow::new(CONDITIONAL, 0).marked("ball", &[], 1.0), "no positions"),
        (OwnedRow::new(CONDITIONAL, 0).marked("ball", &[1], 0.0), "strength"),
        (OwnedRow::new(UNCONDITIONAL, 0).marked("ball", &[1], 1.0), "unconditional"),
        (OwnedRow::new(CONDITIONAL, 0).with_ids(&[1, 2]), "tokenizer"),
    ];
    for (row, part) in cases {
        let rows = [row.row()];
        let (_, text) = refused(&capi::step(0, &rows), &sample, &timestep, &context);
        assert!(text.contains(part), "{part}: {text}");
    }
    let one = [row.row()];
    let step = capi::step(0, &one);
    let (_, text) = refused(&capi::step(0, &[]), &sample, &timestep, &context);
    assert!(text.contains("rows"), "{text}");
    let flat = Host::new(vec![0.0_f32; 256], &[256]);
    for (code, part, error) in [
        (1, "sample: has rank 1", refused(&step, &flat.tensor(), &timestep, &context)),
        (1, "timestep", refused(&step, &sample, &flat.tensor(), &context)),
        (1, "encoder_hidden_states", refused(&step, &sample, &timestep, &flat.tensor())),
        (1, "size", refused(&step, &capi::Tensor { size: 9, ..sample }, &timestep, &context)),
        (1, "struct_size", refused(&step, &capi::Tensor { struct_size: 8, ..sample }, &timestep, &context)),
        (1, "type 12", refused(&step, &capi::Tensor { element_type: 12, ..sample }, &timestep, &context)),
    ] {
        assert!(error.0 == code && error.1.contains(part), "{part}: {error:?}");
    }
    let name = CString::new("down_block_additional_residual").unwrap();
    let residual = Host::new(vec![0.0_f32], &[1, 1]);
    let tensor = residual.tensor();
    let input = capi::Input { struct_size: size_of::<capi::Input>() as u32, name: name.as_ptr(), tensor: &tensor };
    let with_input = capi::Step { inputs: &input, inputs_count: 1, ..step };
    let (code, text) = refused(&with_input, &sample, &timestep, &context);
    assert!(code == 1 && text.contains("down_block_additional_residual"), "{code} {text}");
}
