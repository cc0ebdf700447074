using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;

namespace Infusion
{
    /// <summary>The native library: finding it, its versions, and the ONNX Runtime that it uses.</summary>
    /// <remarks>
    /// Every method of this assembly may be called from every thread, except Dispose while another call runs on the
    /// same object's behalf. Errors are <see cref="InfusionException"/>s.
    /// </remarks>
    public static class Library
    {
        private static volatile bool found;

        /// <summary>The library's version, e.g. "0.1.0".</summary>
        public static string Version
        {
            get
            {
                Ensure();
                return Utf8.Text(Native.infusion_version());
            }
        }

        /// <summary>The version of the ONNX Runtime in use, e.g. "1.32.0"; null before <see cref="Init()"/>.</summary>
        public static string OnnxRuntimeVersion
        {
            get
            {
                Ensure();
                return Utf8.Text(Native.infusion_onnxruntime_version());
            }
        }

        /// <summary>Searches for an ONNX Runtime; one that is in the process already comes first.</summary>
        public static void Init()
        {
            Init(IntPtr.Zero, null);
        }

        /// <summary>Uses the host's ONNX Runtime.</summary>
        /// <param name="ortApiBase">What its OrtGetApiBase() returned.</param>
        public static void Init(IntPtr ortApiBase)
        {
            if (ortApiBase == IntPtr.Zero) throw new ArgumentNullException(nameof(ortApiBase));
            Init(ortApiBase, null);
        }

        /// <summary>Uses the ONNX Runtime library at a path.</summary>
        public static void Init(string onnxRuntimePath)
        {
            if (onnxRuntimePath == null) throw new ArgumentNullException(nameof(onnxRuntimePath));
            Init(IntPtr.Zero, onnxRuntimePath);
        }

        private static void Init(IntPtr ortApiBase, string path)
        {
            Ensure();
            using (var arena = new Arena())
            {
                var options = new Native.infusion_init_options
                {
                    struct_size = Size.Of<Native.infusion_init_options>(),
                    ort_api_base = ortApiBase,
                    onnxruntime_path = arena.Text(path),
                };
                Status.Check(Native.infusion_init(ref options));
            }
        }

        /// <summary>Every object begins here: the library is there and has the ABI of these declarations.</summary>
        internal static void Ensure()
        {
            if (found) return;
            uint abi;
            try
            {
                abi = Native.infusion_abi_version();
            }
            catch (Exception error) when (error is DllNotFoundException || error is BadImageFormatException
                                          || error is EntryPointNotFoundException)
            {
                throw new InfusionException(Code.Failed, NotFound(error), error);
            }
            if (abi != Native.AbiVersion)
            {
                string version = Utf8.Text(Native.infusion_version());
                throw new InfusionException(Code.Failed,
                    $"the native library infusion {version} has ABI {abi}, this assembly was written for ABI {Native.AbiVersion}");
            }
            found = true;
        }

        private static string FileName
        {
            get
            {
                if (RuntimeInformation.IsOSPlatform(OSPlatform.Windows)) return "infusion.dll";
                return RuntimeInformation.IsOSPlatform(OSPlatform.OSX) ? "libinfusion.dylib" : "libinfusion.so";
            }
        }

        /// <summary>The NuGet name of this machine, e.g. linux-x64.</summary>
        private static string RuntimeIdentifier
        {
            get
            {
                string system = RuntimeInformation.IsOSPlatform(OSPlatform.Windows) ? "win"
                    : RuntimeInformation.IsOSPlatform(OSPlatform.OSX) ? "osx" : "linux";
                return system + "-" + RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();
            }
        }

        /// <summary>Where .NET and the system look, as far as it can be said.</summary>
        private static IEnumerable<string> Folders()
        {
            yield return AppDomain.CurrentDomain.BaseDirectory;
            yield return Path.Combine(AppDomain.CurrentDomain.BaseDirectory, "runtimes", RuntimeIdentifier, "native");
            string assembly = typeof(Library).Assembly.Location;
            if (assembly.Length != 0) yield return Path.GetDirectoryName(assembly);
            string variable = RuntimeInformation.IsOSPlatform(OSPlatform.Windows) ? "PATH"
                : RuntimeInformation.IsOSPlatform(OSPlatform.OSX) ? "DYLD_LIBRARY_PATH" : "LD_LIBRARY_PATH";
            string paths = Environment.GetEnvironmentVariable(variable) ?? "";
            foreach (string folder in paths.Split(new[] { Path.PathSeparator }, StringSplitOptions.RemoveEmptyEntries))
            {
                yield return folder;
            }
        }

        private static string NotFound(Exception error)
        {
            var seen = new HashSet<string>();
            var lines = new List<string>();
            foreach (string folder in Folders())
            {
                string file = Path.Combine(folder, FileName);
                if (!seen.Add(file)) continue;
                lines.Add("  " + file + (File.Exists(file) ? ": is there, but could not be loaded" : ": is not there"));
            }
            return $"the native library {FileName} could not be loaded ({error.Message}). Looked for:\n"
                + string.Join("\n", lines) + "\n  and in the system's own folders. "
                + $"Put {FileName} for {RuntimeIdentifier} into one of them, or install it.";
        }
    }
}
