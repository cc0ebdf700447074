using System;
using System.Collections.Generic;

namespace Infusion
{
    /// <summary>How far a call that takes long has come.</summary>
    public sealed class Report
    {
        internal Report(Native.infusion_report native)
        {
            Stage = native.stage;
            Step = (int)native.step;
            Steps = (int)native.steps;
            Timestep = native.timestep;
            Loss = native.loss;
        }

        /// <summary>What the call is at.</summary>
        public Stage Stage { get; }
        /// <summary>Steps done.</summary>
        public int Step { get; }
        /// <summary>Steps in all.</summary>
        public int Steps { get; }
        /// <summary>Generate: the model's timestep of this step.</summary>
        public double Timestep { get; }
        /// <summary>Train: the loss of this step.</summary>
        public double Loss { get; }
    }

    /// <summary>Settings of a <see cref="Pipeline"/>.</summary>
    public sealed class PipelineOptions
    {
        /// <summary>Of each session; 0: the library's choice.</summary>
        public uint Threads { get; set; }
        /// <summary>One model after the other.</summary>
        public bool LowMemory { get; set; }
        /// <summary>e.g. "cuda:device=0"; null: cpu.</summary>
        public string Provider { get; set; }
        /// <summary>Folder for optimised models and engines; null: none.</summary>
        public string Cache { get; set; }
        /// <summary>Where patched graphs go if the UNet's own folder cannot be written; null: nowhere.</summary>
        public string GraphFolder { get; set; }
    }

    /// <summary>A concept under the name that prompts mark it by.</summary>
    public sealed class ConceptUse
    {
        /// <summary>As marked in the prompt: "a photo of a &lt;name&gt;".</summary>
        public string Name { get; set; }
        /// <summary>The concept.</summary>
        public Concept Concept { get; set; }
        /// <summary>1 is all of it.</summary>
        public float Weight { get; set; } = 1;
    }

    /// <summary>What to draw. The defaults are the paper's, and those of `infusion generate`.</summary>
    public sealed class GenerateOptions
    {
        /// <summary>"a photo of a &lt;ball&gt; in the snow"</summary>
        public string Prompt { get; set; }
        /// <summary>What the picture should not show.</summary>
        public string NegativePrompt { get; set; }
        /// <summary>The concepts that the prompt marks.</summary>
        public List<ConceptUse> Concepts { get; } = new List<ConceptUse>();
        /// <summary>e.g. "ddim", "euler_a".</summary>
        public string Scheduler { get; set; } = "ddim";
        /// <summary>Pixels; 0: what the model was trained for.</summary>
        public uint Width { get; set; }
        /// <summary>Pixels; 0: what the model was trained for.</summary>
        public uint Height { get; set; }
        /// <summary>Steps of the scheduler.</summary>
        public uint NumInferenceSteps { get; set; } = 50;
        /// <summary>Pictures, of seeds Seed, Seed + 1, ….</summary>
        public uint Batch { get; set; } = 1;
        /// <summary>Seed of the start noise, the same as PyTorch's on the CPU.</summary>
        public ulong Seed { get; set; }
        /// <summary>Weight of the prompt against the negative prompt; 1 switches guidance off.</summary>
        public double GuidanceScale { get; set; } = 8;
        /// <summary>Fraction of the steps at which the injection opens.</summary>
        public double Start { get; set; }
        /// <summary>Fraction of the steps at which the injection closes.</summary>
        public double End { get; set; } = 1;
        /// <summary>Which latents the foundation stream is evaluated on.</summary>
        public Mode Mode { get; set; }
        /// <summary>Which graphs compute the streams.</summary>
        public Graphs Graphs { get; set; }
        /// <summary>The foundation's pictures are wanted, too.</summary>
        public bool Foundation { get; set; }
        /// <summary>Takes concepts of other base models.</summary>
        public bool Force { get; set; }
        /// <summary>A factor for each cross-attention layer; null: all 1.</summary>
        public float[] LayerScales { get; set; }
        /// <summary>Start noise [batch, 4, height / 8, width / 8]; null: the seeds'.</summary>
        public float[] Noise { get; set; }
        /// <summary>The picture to start from, 3 bytes a pixel; null: none.</summary>
        public byte[] InitRgb { get; set; }
        /// <summary>Pixels of <see cref="InitRgb"/>.</summary>
        public uint InitWidth { get; set; }
        /// <summary>Pixels of <see cref="InitRgb"/>.</summary>
        public uint InitHeight { get; set; }
        /// <summary>With <see cref="InitRgb"/>: the share of the steps that are run.</summary>
        public double Strength { get; set; } = 0.8;
        /// <summary>Called on the way, on the thread that called; null: not.</summary>
        public Func<Report, Answer> Progress { get; set; }

        internal Native.infusion_generate_options Pinned(Arena arena, Native.infusion_progress progress)
        {
            var uses = new List<Native.infusion_concept_use>();
            foreach (ConceptUse use in Concepts)
            {
                uses.Add(new Native.infusion_concept_use
                {
                    struct_size = Size.Of<Native.infusion_concept_use>(),
                    weight = use.Weight,
                    name = arena.Text(use.Name),
                    handle = use.Concept == null ? IntPtr.Zero : use.Concept.Handle.DangerousGetHandle(),
                });
            }
            return new Native.infusion_generate_options
            {
                struct_size = Size.Of<Native.infusion_generate_options>(),
                width = Width,
                height = Height,
                num_inference_steps = NumInferenceSteps,
                batch = Batch,
                mode = Mode,
                graphs = Graphs,
                foundation = Foundation ? 1 : 0,
                force = Force ? 1 : 0,
                seed = Seed,
                guidance_scale = GuidanceScale,
                start = Start,
                end = End,
                prompt = arena.Text(Prompt),
                negative_prompt = arena.Text(NegativePrompt),
                scheduler = arena.Text(Scheduler),
                concepts = arena.Structs(uses),
                concepts_count = Size.Count(uses),
                layer_scales = arena.Pin(LayerScales),
                layer_scales_count = Size.Count(LayerScales),
                noise = arena.Pin(Noise),
                noise_count = Size.Count(Noise),
                init_rgb = arena.Pin(InitRgb),
                init_width = InitWidth,
                init_height = InitHeight,
                strength = Strength,
                progress = Pipeline.Pointer(progress),
            };
        }
    }

    /// <summary>A concept to learn.</summary>
    public sealed class Subject
    {
        /// <summary>As prompts mark it.</summary>
        public string Name { get; set; }
        /// <summary>The word that stands for it, e.g. "ball".</summary>
        public string Class { get; set; }
    }

    /// <summary>A folder of photographs.</summary>
    public sealed class Photos
    {
        /// <summary>The folder.</summary>
        public string Folder { get; set; }
        /// <summary>Whom they show; null: they go with every prompt.</summary>
        public string Subject { get; set; }
        /// <summary>A folder with a picture of the same name for each, white where it counts; null: none.</summary>
        public string Masks { get; set; }
    }

    /// <summary>What to learn. The defaults are the paper's, and those of `infusion train`.</summary>
    public sealed class TrainOptions
    {
        /// <summary>The concepts.</summary>
        public List<Subject> Subjects { get; } = new List<Subject>();
        /// <summary>What they look like.</summary>
        public List<Photos> Photos { get; } = new List<Photos>();
        /// <summary>"a photo of a &lt;ball&gt;"</summary>
        public List<string> Prompts { get; } = new List<string>();
        /// <summary>Steps of Adam.</summary>
        public uint Steps { get; set; } = 400;
        /// <summary>Pictures a step.</summary>
        public uint Batch { get; set; } = 4;
        /// <summary>Rows at once; 0: the whole batch.</summary>
        public uint MicroBatch { get; set; }
        /// <summary>Pixels a side; 0: what the model was trained for.</summary>
        public uint Size { get; set; }
        /// <summary>Of Adam.</summary>
        public double LearningRate { get; set; } = 0.01;
        /// <summary>Of noise, timesteps and order.</summary>
        public ulong Seed { get; set; }
        /// <summary>Mirror images, too.</summary>
        public bool Flip { get; set; }
        /// <summary>"low", "balanced" (null) or "fast".</summary>
        public string Memory { get; set; }
        /// <summary>A file that outlives a cancelled or killed training; null: none.</summary>
        public string Checkpoint { get; set; }
        /// <summary>Steps between checkpoints.</summary>
        public uint CheckpointEvery { get; set; } = 50;
        /// <summary>Goes on from <see cref="Checkpoint"/>.</summary>
        public bool Resume { get; set; }
        /// <summary>Called on the way, on the thread that called; null: not.</summary>
        public Func<Report, Answer> Progress { get; set; }

        internal Native.infusion_train_options Pinned(Arena arena, Native.infusion_progress progress)
        {
            List<Native.infusion_subject> subjects = Subjects.ConvertAll(subject => new Native.infusion_subject
            {
                struct_size = Infusion.Size.Of<Native.infusion_subject>(),
                name = arena.Text(subject.Name),
                class_word = arena.Text(subject.Class),
            });
            List<Native.infusion_photos> photos = Photos.ConvertAll(folder => new Native.infusion_photos
            {
                struct_size = Infusion.Size.Of<Native.infusion_photos>(),
                folder = arena.Text(folder.Folder),
                subject = arena.Text(folder.Subject),
                masks = arena.Text(folder.Masks),
            });
            IntPtr[] prompts = Prompts.ConvertAll(arena.Text).ToArray();
            return new Native.infusion_train_options
            {
                struct_size = Infusion.Size.Of<Native.infusion_train_options>(),
                steps = Steps,
                batch = Batch,
                micro_batch = MicroBatch,
                size = Size,
                flip = Flip ? 1 : 0,
                resume = Resume ? 1 : 0,
                checkpoint_every = CheckpointEvery,
                seed = Seed,
                learning_rate = LearningRate,
                memory = arena.Text(Memory),
                checkpoint = arena.Text(Checkpoint),
                subjects = arena.Structs(subjects),
                subjects_count = Infusion.Size.Count(subjects),
                photos = arena.Structs(photos),
                photos_count = Infusion.Size.Count(photos),
                prompts = arena.Pin(prompts),
                prompts_count = Infusion.Size.Count(prompts),
                progress = Pipeline.Pointer(progress),
            };
        }
    }
}
