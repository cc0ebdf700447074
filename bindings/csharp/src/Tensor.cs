using System;

namespace Infusion
{
    /// <summary>A view of an array, or of memory, as a dense, row-major tensor; nothing is copied.</summary>
    public sealed class Tensor
    {
        private readonly ElementType type;
        private readonly Array numbers;
        private readonly IntPtr data;
        private readonly ulong bytes;
        private readonly long[] dims;

        private Tensor(ElementType type, Array numbers, long[] dims)
        {
            this.type = type;
            this.numbers = numbers ?? throw new ArgumentNullException(nameof(numbers));
            this.dims = dims ?? throw new ArgumentNullException(nameof(dims));
            bytes = (ulong)Buffer.ByteLength(numbers);
        }

        private Tensor(ElementType type, IntPtr data, ulong bytes, long[] dims)
        {
            this.type = type;
            this.data = data;
            this.bytes = bytes;
            this.dims = dims ?? throw new ArgumentNullException(nameof(dims));
        }

        /// <summary>Floats with dims.</summary>
        public static Tensor Of(float[] numbers, params long[] dims)
        {
            return new Tensor(ElementType.Float32, numbers, dims);
        }

        /// <summary>Doubles with dims.</summary>
        public static Tensor Of(double[] numbers, params long[] dims)
        {
            return new Tensor(ElementType.Float64, numbers, dims);
        }

        /// <summary>Ints with dims.</summary>
        public static Tensor Of(int[] numbers, params long[] dims)
        {
            return new Tensor(ElementType.Int32, numbers, dims);
        }

        /// <summary>Longs with dims; without dims, one number of rank 0.</summary>
        public static Tensor Of(long[] numbers, params long[] dims)
        {
            return new Tensor(ElementType.Int64, numbers, dims);
        }

        /// <summary>IEEE half floats, two bytes each.</summary>
        public static Tensor Half(ushort[] numbers, params long[] dims)
        {
            return new Tensor(ElementType.Float16, numbers, dims);
        }

        /// <summary>Bytes at an address that stays where it is during the call: an OrtValue's, or pinned memory.</summary>
        public static Tensor At(ElementType type, IntPtr data, long bytes, params long[] dims)
        {
            return new Tensor(type, data, checked((ulong)bytes), dims);
        }

        internal Native.infusion_tensor Pinned(Arena arena)
        {
            return new Native.infusion_tensor
            {
                struct_size = Size.Of<Native.infusion_tensor>(),
                type = type,
                data = numbers == null ? data : arena.Pin(numbers),
                size = new UIntPtr(bytes),
                dims = arena.Pin(dims),
                rank = Size.Count(dims),
            };
        }
    }
}
