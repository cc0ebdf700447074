using System;
using System.Runtime.InteropServices;

namespace Infusion
{
    /// <summary>A pipeline's folder: model_index.json, text_encoder/model.onnx, unet/model.onnx, ….</summary>
    public sealed class Pipeline : IDisposable
    {
        private readonly PipelineHandle handle;

        /// <summary>Opens a folder; graphs are patched and loaded when they are first needed.</summary>
        public Pipeline(string folder, PipelineOptions options = null)
        {
            Library.Ensure();
            options = options ?? new PipelineOptions();
            using (var arena = new Arena())
            {
                var native = new Native.infusion_pipeline_options
                {
                    struct_size = Size.Of<Native.infusion_pipeline_options>(),
                    threads = options.Threads,
                    low_memory = options.LowMemory ? 1 : 0,
                    provider = arena.Text(options.Provider),
                    cache = arena.Text(options.Cache),
                    graph_folder = arena.Text(options.GraphFolder),
                };
                Status.Check(Native.infusion_pipeline_open(Utf8.Bytes(folder), ref native, out IntPtr made));
                handle = new PipelineHandle(made);
            }
        }

        /// <summary>JSON: folder, width, height, layers, base_model_hash, graphs, schedulers, loaded.</summary>
        public string Describe()
        {
            Status.Check(Native.infusion_pipeline_describe(handle, out IntPtr json));
            return Taken.Text(json);
        }

        /// <summary>Draws.</summary>
        public Pictures Generate(GenerateOptions options)
        {
            Native.infusion_progress progress = Called(options.Progress);
            using (var arena = new Arena())
            {
                Native.infusion_generate_options native = options.Pinned(arena, progress);
                IntPtr status = Native.infusion_generate(handle, ref native, out IntPtr made);
                GC.KeepAlive(options);
                GC.KeepAlive(progress);
                Status.Check(status);
                return new Pictures(made);
            }
        }

        /// <summary>Learns a concept for each subject, in their order.</summary>
        public Concept[] Train(TrainOptions options)
        {
            Native.infusion_progress progress = Called(options.Progress);
            using (var arena = new Arena())
            {
                Native.infusion_train_options native = options.Pinned(arena, progress);
                var made = new IntPtr[options.Subjects.Count];
                UIntPtr count = Size.Count(made);
                IntPtr status = Native.infusion_train(handle, ref native, made, ref count);
                GC.KeepAlive(progress);
                Status.Check(status);
                Array.Resize(ref made, (int)count);
                return Array.ConvertAll(made, concept => new Concept(concept));
            }
        }

        /// <summary>Frees it.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }

        internal static IntPtr Pointer(Native.infusion_progress progress)
        {
            return progress == null ? IntPtr.Zero : Marshal.GetFunctionPointerForDelegate(progress);
        }

        private static Native.infusion_progress Called(Func<Report, Answer> progress)
        {
            if (progress == null) return null;
            return (IntPtr user, ref Native.infusion_report native) =>
            {
                Native.infusion_report given = native;
                return Status.Guarded((int)Answer.Cancel, () => (int)progress(new Report(given)));
            };
        }
    }
}
