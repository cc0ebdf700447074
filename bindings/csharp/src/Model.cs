using System;

namespace Infusion
{
    /// <summary>What a host with its own session feeds as infusion.delta.</summary>
    public sealed class Delta
    {
        internal Delta(float[] numbers, long[] dims)
        {
            Numbers = numbers;
            Tokens = (int)dims[0];
            Width = (int)dims[1];
        }

        /// <summary>[Tokens, Width], row-major.</summary>
        public float[] Numbers { get; }

        /// <summary>Slots: the concept's tokens.</summary>
        public int Tokens { get; }

        /// <summary>The value widths of all cross-attention layers, added up.</summary>
        public int Width { get; }
    }

    /// <summary>An exported UNet that graphs are made of, for hosts that run sessions of their own.</summary>
    public sealed class Model : IDisposable
    {
        private readonly ModelHandle handle;

        private Model(IntPtr made)
        {
            handle = new ModelHandle(made);
        }

        /// <summary>Reads the export; its weights stay in its files.</summary>
        public static Model Open(string path)
        {
            Library.Ensure();
            Status.Check(Native.infusion_model_open(Utf8.Bytes(path), out IntPtr made));
            return new Model(made);
        }

        /// <summary>Reads an export from memory.</summary>
        /// <param name="bytes">The .onnx file's bytes.</param>
        /// <param name="path">The file that it would be, beside which its external data lies; null where it has none.</param>
        public static Model FromBytes(byte[] bytes, string path = null)
        {
            Library.Ensure();
            Status.Check(Native.infusion_model_open_memory(bytes, Size.Count(bytes), Utf8.Bytes(path), out IntPtr made));
            return new Model(made);
        }

        /// <summary>JSON: the manifest, the graphs that can be made with their inputs and outputs, and why others cannot.</summary>
        public string Describe()
        {
            Status.Check(Native.infusion_model_describe(handle, out IntPtr json));
            return Taken.Text(json);
        }

        /// <summary>One graph as the bytes of an .onnx file, weights included. Above 2 GB: use <see cref="Save"/>.</summary>
        public byte[] Graph(Variant variant)
        {
            Status.Check(Native.infusion_model_graph(handle, variant, out IntPtr onnx));
            return Taken.Bytes(onnx);
        }

        /// <summary>Writes graphs and manifest into a folder, all or none, and gives the manifest's JSON.</summary>
        /// <param name="folder">Null: the source's.</param>
        /// <param name="variants">e.g. "f,c,shared"; null: all that can be made.</param>
        /// <param name="selfContained">Copies the weights into each graph.</param>
        /// <param name="overwrite">Replaces files that no earlier call wrote.</param>
        public string Save(string folder = null, string variants = null, bool selfContained = false, bool overwrite = false)
        {
            using (var arena = new Arena())
            {
                var options = new Native.infusion_save_options
                {
                    struct_size = Size.Of<Native.infusion_save_options>(),
                    variants = arena.Text(variants),
                    self_contained = selfContained ? 1 : 0,
                    overwrite = overwrite ? 1 : 0,
                };
                Status.Check(Native.infusion_model_save(handle, Utf8.Bytes(folder), ref options, out IntPtr manifest));
                return Taken.Text(manifest);
            }
        }

        /// <summary>The concept's Δ for this model.</summary>
        public Delta Delta(Concept concept)
        {
            var dims = new long[2];
            UIntPtr count = UIntPtr.Zero;
            Status.Check(Native.infusion_model_delta(handle, concept.Handle, null, ref count, dims));
            var numbers = new float[checked((int)count)];
            Status.Check(Native.infusion_model_delta(handle, concept.Handle, numbers, ref count, dims));
            return new Delta(numbers, dims);
        }

        /// <summary>Frees it.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
