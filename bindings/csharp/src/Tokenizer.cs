using System;

namespace Infusion
{
    /// <summary>CLIP's byte-pair encoding.</summary>
    public sealed class Tokenizer : IDisposable
    {
        /// <summary>Ids of one prompt.</summary>
        private const int Length = 77;

        /// <summary>Reads vocab.json and merges.txt from a folder.</summary>
        public Tokenizer(string folder)
        {
            Library.Ensure();
            Status.Check(Native.infusion_tokenizer_create(Utf8.Bytes(folder), out IntPtr made));
            Handle = new TokenizerHandle(made);
        }

        internal TokenizerHandle Handle { get; }

        /// <summary>The 77 token ids of a text, start and end included; a text that is too long is cut.</summary>
        public long[] Encode(string text)
        {
            var ids = new long[Length];
            var count = new UIntPtr(Length);
            Status.Check(Native.infusion_tokenizer_encode(Handle, Utf8.Bytes(text), ids, ref count));
            Array.Resize(ref ids, (int)count);
            return ids;
        }

        /// <summary>Where the tokens of a phrase stand in ids: every occurrence, every token of it.</summary>
        public int[] Find(string phrase, long[] ids)
        {
            using (var arena = new Arena())
            {
                var positions = new UIntPtr[ids.Length];
                UIntPtr count = Size.Count(positions);
                Status.Check(Native.infusion_tokenizer_find(
                    Handle, Utf8.Bytes(phrase), ids, Size.Count(ids), arena.Pin(positions), ref count));
                Array.Resize(ref positions, (int)count);
                return Array.ConvertAll(positions, position => (int)position);
            }
        }

        /// <summary>Frees it. A <see cref="Unet"/> that was opened with it goes on using it.</summary>
        public void Dispose()
        {
            Handle.Dispose();
        }
    }
}
