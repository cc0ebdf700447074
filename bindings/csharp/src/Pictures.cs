using System;
using System.Collections;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Infusion
{
    /// <summary>One picture.</summary>
    public sealed class Picture
    {
        internal Picture(Native.infusion_picture native)
        {
            Width = (int)native.width;
            Height = (int)native.height;
            Foundation = native.foundation != 0;
            Seed = native.seed;
            Rgb = new byte[checked((int)native.size)];
            Marshal.Copy(native.rgb, Rgb, 0, Rgb.Length);
        }

        /// <summary>Pixels.</summary>
        public int Width { get; }
        /// <summary>Pixels.</summary>
        public int Height { get; }
        /// <summary>Whether it is the foundation's, the ordinary picture.</summary>
        public bool Foundation { get; }
        /// <summary>Of its start noise.</summary>
        public ulong Seed { get; }
        /// <summary>3 bytes a pixel, rows from the top.</summary>
        public byte[] Rgb { get; }
    }

    /// <summary>The pictures of one call: the customised stream's first, then the foundation's.</summary>
    public sealed class Pictures : IReadOnlyList<Picture>, IDisposable
    {
        private readonly PicturesHandle handle;

        internal Pictures(IntPtr made)
        {
            handle = new PicturesHandle(made);
        }

        /// <summary>How many.</summary>
        public int Count
        {
            get { return (int)Native.infusion_pictures_count(handle); }
        }

        /// <summary>A copy of one.</summary>
        public Picture this[int index]
        {
            get
            {
                var picture = new Native.infusion_picture { struct_size = Size.Of<Native.infusion_picture>() };
                Status.Check(Native.infusion_pictures_get(handle, new UIntPtr(checked((uint)index)), ref picture));
                var copy = new Picture(picture);
                GC.KeepAlive(this);
                return copy;
            }
        }

        /// <summary>Writes one as PNG, with the settings in it.</summary>
        public void Save(int index, string path, bool overwrite = false)
        {
            Status.Check(Native.infusion_pictures_save(
                handle, new UIntPtr(checked((uint)index)), Utf8.Bytes(path), overwrite ? 1 : 0));
        }

        /// <summary>Copies of all.</summary>
        public IEnumerator<Picture> GetEnumerator()
        {
            for (int index = 0; index < Count; index++) yield return this[index];
        }

        IEnumerator IEnumerable.GetEnumerator()
        {
            return GetEnumerator();
        }

        /// <summary>Frees them.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
