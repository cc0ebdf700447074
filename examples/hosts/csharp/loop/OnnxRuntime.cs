using System;
using System.Runtime.InteropServices;
using System.Text;

/// <summary>
/// As much of ONNX Runtime's C API as this host needs. Hosts with Microsoft.ML.OnnxRuntime have its InferenceSession
/// instead, and of this file need OrtGetApiBase alone.
/// </summary>
internal static class OnnxRuntime
{
    private const uint ApiVersion = 17;

    private delegate IntPtr GetApi(uint version);
    private delegate IntPtr GetText();
    private delegate IntPtr GetMessage(IntPtr status);
    private delegate IntPtr MakeEnvironment(int level, byte[] name, out IntPtr environment);

    [DllImport("onnxruntime")]
    internal static extern IntPtr OrtGetApiBase();

    private static readonly IntPtr Api = Get<GetApi>(OrtGetApiBase(), 0)(ApiVersion);

    internal static string Version
    {
        get { return Marshal.PtrToStringAnsi(Get<GetText>(OrtGetApiBase(), 1)()); }
    }

    /// <summary>The process's environment, which this host makes before anybody else does.</summary>
    internal static readonly IntPtr Environment = MadeEnvironment();

    private static IntPtr MadeEnvironment()
    {
        const int warning = 2;
        Check(Function<MakeEnvironment>(3)(warning, Encoding.UTF8.GetBytes("host\0"), out IntPtr environment));
        return environment;
    }

    /// <summary>A function by its place in struct OrtApi, which is the same in all versions.</summary>
    internal static T Function<T>(int place)
    {
        return Get<T>(Api, place);
    }

    private static T Get<T>(IntPtr table, int place)
    {
        return Marshal.GetDelegateForFunctionPointer<T>(Marshal.ReadIntPtr(table, place * IntPtr.Size));
    }

    internal static void Check(IntPtr status)
    {
        if (status == IntPtr.Zero) return;
        throw new InvalidOperationException(Marshal.PtrToStringAnsi(Function<GetMessage>(2)(status)));
    }
}

/// <summary>A session with one input and one output that counts.</summary>
internal sealed class Session
{
    private const int Float = 1, Int32 = 6, Int64 = 7;

    private delegate IntPtr Make(out IntPtr made);
    private delegate IntPtr MakeSession(IntPtr environment, byte[] path, IntPtr options, out IntPtr session);
    private delegate IntPtr GetOf(IntPtr from, out IntPtr got);
    private delegate IntPtr GetNumber(IntPtr from, out int number);
    private delegate IntPtr GetSize(IntPtr from, out UIntPtr size);
    private delegate IntPtr GetDims(IntPtr from, [Out] long[] dims, UIntPtr rank);
    private delegate IntPtr GetAt(IntPtr session, UIntPtr index, out IntPtr got);
    private delegate IntPtr GetName(IntPtr session, UIntPtr index, IntPtr allocator, out IntPtr name);
    private delegate IntPtr MakeMemory(int allocator, int type, out IntPtr memory);
    private delegate IntPtr MakeTensor(
        IntPtr memory, IntPtr data, UIntPtr bytes, long[] dims, UIntPtr rank, int type, out IntPtr tensor);
    private delegate IntPtr RunSession(
        IntPtr session, IntPtr options, IntPtr[] names, IntPtr[] inputs, UIntPtr count, IntPtr[] outputNames,
        UIntPtr outputCount, IntPtr[] outputs);
    private delegate void Release(IntPtr released);

    private readonly IntPtr session, memory, input, output;
    private readonly int inputType;

    internal Session(string file)
    {
        IntPtr environment = OnnxRuntime.Environment;
        OnnxRuntime.Check(OnnxRuntime.Function<Make>(10)(out IntPtr options));
        bool windows = RuntimeInformation.IsOSPlatform(OSPlatform.Windows);
        byte[] path = (windows ? Encoding.Unicode : Encoding.UTF8).GetBytes(file + "\0");
        OnnxRuntime.Check(OnnxRuntime.Function<MakeSession>(7)(environment, path, options, out session));
        OnnxRuntime.Function<Release>(100)(options);
        OnnxRuntime.Check(OnnxRuntime.Function<MakeMemory>(69)(1, 0, out memory));
        OnnxRuntime.Check(OnnxRuntime.Function<Make>(78)(out IntPtr allocator));
        OnnxRuntime.Check(OnnxRuntime.Function<GetName>(36)(session, UIntPtr.Zero, allocator, out input));
        OnnxRuntime.Check(OnnxRuntime.Function<GetName>(37)(session, UIntPtr.Zero, allocator, out output));
        OnnxRuntime.Check(OnnxRuntime.Function<GetAt>(33)(session, UIntPtr.Zero, out IntPtr type));
        OnnxRuntime.Check(OnnxRuntime.Function<GetOf>(55)(type, out IntPtr tensorType));
        OnnxRuntime.Check(OnnxRuntime.Function<GetNumber>(60)(tensorType, out inputType));
        OnnxRuntime.Function<Release>(98)(type);
    }

    /// <summary>Exports of text encoders take int32 or int64 ids.</summary>
    internal float[] Run(long[] ids, long[] dims, out long[] shape)
    {
        if (inputType == Int64) return Run(ids, Int64, sizeof(long), dims, out shape);
        return Run(Array.ConvertAll(ids, id => (int)id), Int32, sizeof(int), dims, out shape);
    }

    internal float[] Run(float[] numbers, long[] dims, out long[] shape)
    {
        return Run(numbers, Float, sizeof(float), dims, out shape);
    }

    private float[] Run(Array numbers, int type, int size, long[] dims, out long[] shape)
    {
        GCHandle pinned = GCHandle.Alloc(numbers, GCHandleType.Pinned);
        try
        {
            OnnxRuntime.Check(OnnxRuntime.Function<MakeTensor>(49)(memory, pinned.AddrOfPinnedObject(),
                new UIntPtr((uint)(numbers.Length * size)), dims, new UIntPtr((uint)dims.Length), type, out IntPtr tensor));
            var outputs = new IntPtr[1];
            OnnxRuntime.Check(OnnxRuntime.Function<RunSession>(9)(session, IntPtr.Zero, new[] { input }, new[] { tensor },
                new UIntPtr(1), new[] { output }, new UIntPtr(1), outputs));
            float[] result = Copied(outputs[0], out shape);
            OnnxRuntime.Function<Release>(96)(tensor);
            OnnxRuntime.Function<Release>(96)(outputs[0]);
            return result;
        }
        finally
        {
            pinned.Free();
        }
    }

    private static float[] Copied(IntPtr tensor, out long[] shape)
    {
        OnnxRuntime.Check(OnnxRuntime.Function<GetOf>(65)(tensor, out IntPtr described));
        OnnxRuntime.Check(OnnxRuntime.Function<GetSize>(61)(described, out UIntPtr rank));
        OnnxRuntime.Check(OnnxRuntime.Function<GetSize>(64)(described, out UIntPtr count));
        shape = new long[(int)rank];
        OnnxRuntime.Check(OnnxRuntime.Function<GetDims>(62)(described, shape, rank));
        OnnxRuntime.Function<Release>(99)(described);
        OnnxRuntime.Check(OnnxRuntime.Function<GetOf>(51)(tensor, out IntPtr data));
        var numbers = new float[(int)count];
        Marshal.Copy(data, numbers, 0, numbers.Length);
        return numbers;
    }
}
