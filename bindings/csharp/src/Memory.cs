using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Infusion
{
    internal static class Utf8
    {
        /// <summary>With a NUL at the end; null stays null, the default.</summary>
        internal static byte[] Bytes(string text)
        {
            return text == null ? null : Encoding.UTF8.GetBytes(text + "\0");
        }

        internal static string Text(IntPtr text)
        {
            if (text == IntPtr.Zero) return null;
            int length = 0;
            while (Marshal.ReadByte(text, length) != 0) length++;
            return Text(text, length);
        }

        internal static string Text(IntPtr text, int length)
        {
            var bytes = new byte[length];
            Marshal.Copy(text, bytes, 0, length);
            return Encoding.UTF8.GetString(bytes);
        }
    }

    /// <summary>Memory that structs point into: pinned arrays and copies, all released together after a call.</summary>
    internal sealed class Arena : IDisposable
    {
        private readonly List<GCHandle> pinned = new List<GCHandle>();
        private readonly List<IntPtr> copies = new List<IntPtr>();

        /// <summary>Where the array's numbers are, unmoved; zero for none.</summary>
        internal IntPtr Pin(Array numbers)
        {
            if (numbers == null || numbers.Length == 0) return IntPtr.Zero;
            GCHandle handle = GCHandle.Alloc(numbers, GCHandleType.Pinned);
            pinned.Add(handle);
            return handle.AddrOfPinnedObject();
        }

        internal IntPtr Text(string text)
        {
            return Pin(Utf8.Bytes(text));
        }

        /// <summary>The structs side by side; zero for none.</summary>
        internal IntPtr Structs<T>(IList<T> structs) where T : struct
        {
            if (structs.Count == 0) return IntPtr.Zero;
            int size = Marshal.SizeOf(typeof(T));
            IntPtr copy = Marshal.AllocHGlobal(size * structs.Count);
            copies.Add(copy);
            for (int index = 0; index < structs.Count; index++)
            {
                Marshal.StructureToPtr(structs[index], IntPtr.Add(copy, index * size), false);
            }
            return copy;
        }

        /// <summary>The numbers as size_t; zero for none.</summary>
        internal IntPtr Sizes(int[] numbers)
        {
            return numbers == null ? IntPtr.Zero : Pin(Array.ConvertAll(numbers, number => new UIntPtr(checked((ulong)number))));
        }

        public void Dispose()
        {
            pinned.ForEach(handle => handle.Free());
            copies.ForEach(Marshal.FreeHGlobal);
            pinned.Clear();
            copies.Clear();
        }
    }

    internal static class Size
    {
        internal static uint Of<T>() where T : struct
        {
            return (uint)Marshal.SizeOf(typeof(T));
        }

        internal static UIntPtr Count<T>(ICollection<T> items)
        {
            return new UIntPtr(items == null ? 0u : (uint)items.Count);
        }
    }
}
