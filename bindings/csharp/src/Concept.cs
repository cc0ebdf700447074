using System;

namespace Infusion
{
    /// <summary>What a word looks like: a file of a few kilobytes.</summary>
    public sealed class Concept : IDisposable
    {
        internal Concept(IntPtr made)
        {
            Handle = new ConceptHandle(made);
        }

        internal ConceptHandle Handle { get; }

        /// <summary>Reads a concept file.</summary>
        public static Concept Load(string path)
        {
            Library.Ensure();
            Status.Check(Native.infusion_concept_load(Utf8.Bytes(path), out IntPtr made));
            return new Concept(made);
        }

        /// <summary>The same from the bytes of a file; the name stands for it in messages.</summary>
        public static Concept FromBytes(byte[] bytes, string name = null)
        {
            Library.Ensure();
            Status.Check(Native.infusion_concept_load_memory(bytes, Size.Count(bytes), Utf8.Bytes(name), out IntPtr made));
            return new Concept(made);
        }

        /// <summary>JSON: word, class, tokens, parameters, precision, base_model_hash, training, layers.</summary>
        public string Describe()
        {
            Status.Check(Native.infusion_concept_describe(Handle, out IntPtr json));
            return Taken.Text(json);
        }

        /// <summary>Writes a concept file.</summary>
        /// <param name="path">The file.</param>
        /// <param name="precision">"f32", "f16", "i8" or "i4".</param>
        /// <param name="overwrite">Replaces a file that exists.</param>
        public void Save(string path, string precision = "f16", bool overwrite = false)
        {
            Status.Check(Native.infusion_concept_save(Handle, Utf8.Bytes(path), Utf8.Bytes(precision), overwrite ? 1 : 0));
        }

        /// <summary>The bytes of such a file.</summary>
        public byte[] Encode(string precision = "f16")
        {
            Status.Check(Native.infusion_concept_encode(Handle, Utf8.Bytes(precision), out IntPtr bytes));
            return Taken.Bytes(bytes);
        }

        /// <summary>Frees it. UNets that it was set in keep it.</summary>
        public void Dispose()
        {
            Handle.Dispose();
        }
    }
}
