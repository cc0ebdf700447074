using System;

/// <summary>
/// A host's own DDIM scheduler (Song et al., "Denoising Diffusion Implicit Models", eq. 12 with σ = 0), with Stable
/// Diffusion's noise schedule: betas linear in their square roots, steps spaced evenly from 1.
/// </summary>
internal sealed class Ddim
{
    private const int Trained = 1000;
    private const double FirstBeta = 0.00085, LastBeta = 0.012;
    private const int Offset = 1;

    /// <summary>Products of 1 - beta.</summary>
    private readonly double[] alphas = new double[Trained];
    private readonly int stride;

    internal Ddim(int steps)
    {
        double product = 1, first = Math.Sqrt(FirstBeta), last = Math.Sqrt(LastBeta);
        for (int t = 0; t < Trained; t++)
        {
            double root = first + (last - first) * t / (Trained - 1);
            alphas[t] = product *= 1 - root * root;
        }
        stride = Trained / steps;
        Timesteps = new long[steps];
        for (int index = 0; index < steps; index++) Timesteps[index] = (steps - 1 - index) * stride + Offset;
    }

    /// <summary>From the noisiest to the cleanest.</summary>
    internal long[] Timesteps { get; }

    /// <summary>The latents of the next timestep: x at index, with the noise predicted for it.</summary>
    internal float[] Step(int index, float[] x, float[] noise)
    {
        double a = alphas[Timesteps[index]], b = alphas[Math.Max(Timesteps[index] - stride, 0)];
        var next = new float[x.Length];
        for (int i = 0; i < next.Length; i++)
        {
            double clean = (x[i] - Math.Sqrt(1 - a) * noise[i]) / Math.Sqrt(a);
            next[i] = (float)(Math.Sqrt(b) * clean + Math.Sqrt(1 - b) * noise[i]);
        }
        return next;
    }
}
