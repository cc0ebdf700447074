using System;
using System.Runtime.InteropServices;

namespace Infusion
{
    /// <summary>The foundation's prediction of one picture at one evaluation, to be followed to the next.</summary>
    public sealed class Foundation
    {
        private readonly IntPtr next;

        internal Foundation(Native.infusion_foundation native)
        {
            Index = native.index;
            Image = native.image;
            Channels = (int)native.channels;
            Height = (int)native.height;
            Width = (int)native.width;
            int rows = checked((int)native.rows), size = checked(Channels * Height * Width);
            var roles = new int[rows];
            Noise = new float[rows * size];
            Sample = new float[size];
            Marshal.Copy(native.roles, roles, 0, rows);
            Marshal.Copy(native.noise, Noise, 0, Noise.Length);
            Marshal.Copy(native.sample, Sample, 0, size);
            Roles = Array.ConvertAll(roles, role => (Role)role);
            next = native.next;
        }

        /// <summary><see cref="Step.Index"/>.</summary>
        public uint Index { get; }
        /// <summary><see cref="Row.Image"/>.</summary>
        public ulong Image { get; }
        /// <summary>Of each row, in the order in which the calls gave them.</summary>
        public Role[] Roles { get; }
        /// <summary>[rows, channels, height, width].</summary>
        public float[] Noise { get; }
        /// <summary>What F was given: [channels, height, width].</summary>
        public float[] Sample { get; }
        /// <summary>Channels of the latents.</summary>
        public int Channels { get; }
        /// <summary>Height of the latents.</summary>
        public int Height { get; }
        /// <summary>Width of the latents.</summary>
        public int Width { get; }

        internal void SetNext(float[] latents)
        {
            if (latents == null || latents.Length != Sample.Length)
            {
                throw new ArgumentException($"a scheduler must return {Sample.Length} latents");
            }
            Marshal.Copy(latents, 0, next, latents.Length);
        }
    }

    /// <summary>Settings of a <see cref="Unet"/>.</summary>
    public sealed class UnetOptions
    {
        /// <summary>Which latents the foundation stream is evaluated on.</summary>
        public Mode Mode { get; set; }
        /// <summary>Which graphs compute the streams.</summary>
        public Graphs Graphs { get; set; }
        /// <summary>Of each session; 0: the library's choice.</summary>
        public uint Threads { get; set; }
        /// <summary>Less memory at the price of speed.</summary>
        public bool LowMemory { get; set; }
        /// <summary>e.g. "cuda:device=0"; null: cpu.</summary>
        public string Provider { get; set; }
        /// <summary>Folder for optimised models and engines; null: none.</summary>
        public string Cache { get; set; }
        /// <summary>Where patched graphs go if the UNet's own folder cannot be written; null: nowhere.</summary>
        public string GraphFolder { get; set; }
        /// <summary>For rows with ids.</summary>
        public Tokenizer Tokenizer { get; set; }
        /// <summary>Steps the foundation as the host steps the picture, and returns its next latents; for separate streams.</summary>
        public Func<Foundation, float[]> Scheduler { get; set; }
    }

    /// <summary>A UNet with concepts, in place of the host's own session.</summary>
    public sealed class Unet : IDisposable
    {
        private readonly UnetHandle handle;
        private readonly Native.infusion_scheduler scheduler;

        /// <summary>Opens an exported UNet: its .onnx file, one of its patched graphs, or its .infusion.json.</summary>
        public Unet(string model, UnetOptions options = null)
        {
            Library.Ensure();
            options = options ?? new UnetOptions();
            if (options.Scheduler != null) scheduler = Called(options.Scheduler);
            using (var arena = new Arena())
            {
                var native = new Native.infusion_unet_options
                {
                    struct_size = Size.Of<Native.infusion_unet_options>(),
                    mode = options.Mode,
                    graphs = options.Graphs,
                    threads = options.Threads,
                    low_memory = options.LowMemory ? 1 : 0,
                    provider = arena.Text(options.Provider),
                    cache = arena.Text(options.Cache),
                    graph_folder = arena.Text(options.GraphFolder),
                    tokenizer = options.Tokenizer == null ? IntPtr.Zero : options.Tokenizer.Handle.DangerousGetHandle(),
                    scheduler = scheduler == null ? IntPtr.Zero : Marshal.GetFunctionPointerForDelegate(scheduler),
                };
                Status.Check(Native.infusion_unet_open(Utf8.Bytes(model), ref native, out IntPtr made));
                GC.KeepAlive(options.Tokenizer);
                handle = new UnetHandle(made);
            }
        }

        private static Native.infusion_scheduler Called(Func<Foundation, float[]> scheduler)
        {
            return (IntPtr user, ref Native.infusion_foundation native) =>
            {
                Native.infusion_foundation given = native;
                return Status.Guarded(1, () =>
                {
                    var foundation = new Foundation(given);
                    foundation.SetNext(scheduler(foundation));
                    return 0;
                });
            };
        }

        /// <summary>JSON: inputs, output, layers, base_model_hash, graphs, loaded.</summary>
        public string Describe()
        {
            Status.Check(Native.infusion_unet_describe(handle, out IntPtr json));
            return Taken.Text(json);
        }

        /// <summary>Loads the sessions that Run would load at its first calls.</summary>
        public void Preload()
        {
            Status.Check(Native.infusion_unet_preload(handle));
        }

        /// <summary>In place of the host's UNet call: output becomes the predicted noise of the customised stream.</summary>
        public void Run(Step step, Tensor sample, Tensor timestep, Tensor encoderHiddenStates, Tensor output)
        {
            using (var arena = new Arena())
            {
                Native.infusion_step about = step.Pinned(arena);
                Native.infusion_tensor x = sample.Pinned(arena), t = timestep.Pinned(arena);
                Native.infusion_tensor context = encoderHiddenStates.Pinned(arena), noise = output.Pinned(arena);
                IntPtr status = Native.infusion_unet_run(handle, ref about, ref x, ref t, ref context, ref noise);
                GC.KeepAlive(this);
                Status.Check(status);
            }
        }

        /// <summary>Separate streams whose trajectories the host keeps, both: foundation are F's latents.</summary>
        public void Run2(Step step, Tensor foundation, Tensor sample, Tensor timestep, Tensor encoderHiddenStates,
            Tensor foundationOutput, Tensor output)
        {
            using (var arena = new Arena())
            {
                Native.infusion_step about = step.Pinned(arena);
                Native.infusion_tensor f = foundation.Pinned(arena), x = sample.Pinned(arena), t = timestep.Pinned(arena);
                Native.infusion_tensor context = encoderHiddenStates.Pinned(arena);
                Native.infusion_tensor fNoise = foundationOutput.Pinned(arena), noise = output.Pinned(arena);
                Status.Check(Native.infusion_unet_run2(
                    handle, ref about, ref f, ref x, ref t, ref context, ref fNoise, ref noise));
            }
        }

        /// <summary>Drops what is kept of a picture that will not be gone on with.</summary>
        public void EndImage(ulong image)
        {
            Status.Check(Native.infusion_unet_end_image(handle, image));
        }

        /// <summary>Adds or replaces a concept; the next call draws with it, on whatever thread.</summary>
        /// <param name="name">What marks call it; null: its word.</param>
        /// <param name="concept">The concept, which may be disposed of afterwards.</param>
        /// <param name="weight">1 is all of it.</param>
        /// <param name="phrase">What rows with ids are searched for; null: the concept's class.</param>
        /// <param name="force">Takes a concept that was learned on another base model.</param>
        public void SetConcept(string name, Concept concept, float weight = 1, string phrase = null, bool force = false)
        {
            Status.Check(Native.infusion_unet_set_concept(
                handle, Utf8.Bytes(name), concept.Handle, weight, Utf8.Bytes(phrase), force ? 1 : 0));
        }

        /// <summary>How strongly a concept acts from the next call on.</summary>
        public void SetWeight(string name, float weight)
        {
            Status.Check(Native.infusion_unet_set_weight(handle, Utf8.Bytes(name), weight));
        }

        /// <summary>Takes a concept out.</summary>
        public void RemoveConcept(string name)
        {
            Status.Check(Native.infusion_unet_remove_concept(handle, Utf8.Bytes(name)));
        }

        /// <summary>JSON: name, word, class, phrase, weight and tokens of each, in the order in which they were set.</summary>
        public string Concepts()
        {
            Status.Check(Native.infusion_unet_concepts(handle, out IntPtr json));
            return Taken.Text(json);
        }

        /// <summary>Frees it.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
