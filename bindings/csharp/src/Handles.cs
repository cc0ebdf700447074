using System;
using System.Runtime.InteropServices;

namespace Infusion
{
    /// <summary>A handle of the library's. It is made around a handle that a successful call gave, never before.</summary>
    internal abstract class Handle : SafeHandle
    {
        private readonly Action<IntPtr> free;

        protected Handle(IntPtr made, Action<IntPtr> free) : base(IntPtr.Zero, true)
        {
            this.free = free;
            SetHandle(made);
        }

        public override bool IsInvalid
        {
            get { return handle == IntPtr.Zero; }
        }

        protected override bool ReleaseHandle()
        {
            free(handle);
            return true;
        }
    }

    internal sealed class BufferHandle : Handle
    {
        internal BufferHandle(IntPtr made) : base(made, Native.infusion_buffer_free) { }
    }

    internal sealed class TokenizerHandle : Handle
    {
        internal TokenizerHandle(IntPtr made) : base(made, Native.infusion_tokenizer_free) { }
    }

    internal sealed class ConceptHandle : Handle
    {
        internal ConceptHandle(IntPtr made) : base(made, Native.infusion_concept_free) { }
    }

    internal sealed class ModelHandle : Handle
    {
        internal ModelHandle(IntPtr made) : base(made, Native.infusion_model_free) { }
    }

    internal sealed class UnetHandle : Handle
    {
        internal UnetHandle(IntPtr made) : base(made, Native.infusion_unet_free) { }
    }

    internal sealed class PipelineHandle : Handle
    {
        internal PipelineHandle(IntPtr made) : base(made, Native.infusion_pipeline_free) { }
    }

    internal sealed class PicturesHandle : Handle
    {
        internal PicturesHandle(IntPtr made) : base(made, Native.infusion_pictures_free) { }
    }

    /// <summary>What the library made and a caller takes as its own.</summary>
    internal static class Taken
    {
        internal static byte[] Bytes(IntPtr made)
        {
            using (var buffer = new BufferHandle(made))
            {
                var bytes = new byte[checked((int)Native.infusion_buffer_size(buffer))];
                Marshal.Copy(Native.infusion_buffer_data(buffer), bytes, 0, bytes.Length);
                return bytes;
            }
        }

        internal static string Text(IntPtr made)
        {
            return System.Text.Encoding.UTF8.GetString(Bytes(made));
        }
    }
}
