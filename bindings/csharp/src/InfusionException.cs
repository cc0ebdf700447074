using System;
using System.Runtime.ExceptionServices;

namespace Infusion
{
    /// <summary>What a call of the library failed with: what was wrong, where, and what to do.</summary>
    public sealed class InfusionException : Exception
    {
        internal InfusionException(Code code, string text, Exception inner = null) : base(text, inner)
        {
            Code = code;
        }

        /// <summary>Of what kind the error is.</summary>
        public Code Code { get; }
    }

    /// <summary>From statuses to exceptions, and from exceptions of callbacks to statuses and back.</summary>
    internal static class Status
    {
        [ThreadStatic]
        private static ExceptionDispatchInfo thrown;

        /// <summary>Throws what <paramref name="status"/> says, or what a callback threw meanwhile.</summary>
        internal static void Check(IntPtr status)
        {
            ExceptionDispatchInfo own = thrown;
            thrown = null;
            if (status == IntPtr.Zero && own == null) return;
            Code code = Native.infusion_status_code(status);
            string text = Utf8.Text(Native.infusion_status_text(status));
            Native.infusion_status_free(status);
            if (own != null) own.Throw();
            throw new InfusionException(code, text);
        }

        /// <summary>Runs a callback; no exception may pass through the library.</summary>
        internal static int Guarded(int failed, Func<int> call)
        {
            try
            {
                return call();
            }
            catch (Exception exception)
            {
                thrown = ExceptionDispatchInfo.Capture(exception);
                return failed;
            }
        }
    }
}
