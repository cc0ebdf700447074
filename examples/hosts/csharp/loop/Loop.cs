// A C# host with sessions, scheduler and guidance of its own: where it ran the UNet's session, it calls Unet.Run.
//
//     mono loop.exe shared|separate MODEL CONCEPT WORD PROMPT NOISE STEPS GUIDANCE SIZE OUTPUT.ppm
//
// MODEL is a pipeline's folder, WORD what PROMPT calls the concept, NOISE a file of float32 start noise.
using System;
using System.Globalization;
using System.IO;
using Infusion;

internal static class Loop
{
    /// <summary>What Stable Diffusion's latents are multiplied with.</summary>
    private const float VaeScale = 0.18215f;

    private static int Main(string[] arguments)
    {
        if (arguments.Length != 10)
        {
            Console.Error.WriteLine(
                "usage: loop.exe shared|separate MODEL CONCEPT WORD PROMPT NOISE STEPS GUIDANCE SIZE OUTPUT.ppm");
            return 2;
        }
        try
        {
            Draw(arguments);
            return 0;
        }
        catch (InfusionException error)
        {
            Console.Error.WriteLine($"error {(int)error.Code}: {error.Message}");
            return 1;
        }
    }

    private static void Draw(string[] arguments)
    {
        string model = arguments[1], word = arguments[3];
        var scheduler = new Ddim(int.Parse(arguments[6], CultureInfo.InvariantCulture));
        float scale = float.Parse(arguments[7], CultureInfo.InvariantCulture);
        int size = int.Parse(arguments[8], CultureInfo.InvariantCulture) / 8, count = 4 * size * size;

        var encoder = new Session(Path.Combine(model, "text_encoder", "model.onnx"));
        var decoder = new Session(Path.Combine(model, "vae_decoder", "model.onnx"));
        Library.Init(OnnxRuntime.OrtGetApiBase());

        using (var tokenizer = new Tokenizer(Path.Combine(model, "tokenizer")))
        using (var concept = Concept.Load(arguments[2]))
        {
            long[] nothing = tokenizer.Encode(""), prompt = tokenizer.Encode(arguments[4]);
            var ids = new long[2 * prompt.Length];
            nothing.CopyTo(ids, 0);
            prompt.CopyTo(ids, prompt.Length);
            float[] context = encoder.Run(ids, new long[] { 2, prompt.Length }, out long[] contextDims);

            var options = new UnetOptions { Tokenizer = tokenizer };
            if (arguments[0] == "separate")
            {
                options.Scheduler = foundation => scheduler.Step(
                    (int)foundation.Index, foundation.Sample, Guided(foundation.Noise, scale));
            }
            var step = new Step { Steps = (uint)scheduler.Timesteps.Length };
            step.Rows.Add(new Row { Role = Role.Unconditional });
            step.Rows.Add(new Row { Role = Role.Conditional, Ids = prompt });

            float[] latents = Noise(arguments[5], count), rows = new float[2 * count], noise = new float[2 * count];
            using (var unet = new Unet(Path.Combine(model, "unet", "model.onnx"), options))
            {
                unet.SetConcept(word, concept, 1, word);
                for (int index = 0; index < scheduler.Timesteps.Length; index++)
                {
                    latents.CopyTo(rows, 0);
                    latents.CopyTo(rows, count);
                    step.Index = (uint)index;
                    unet.Run(step, Tensor.Of(rows, 2, 4, size, size), Tensor.Of(new[] { scheduler.Timesteps[index] }),
                        Tensor.Of(context, contextDims), Tensor.Of(noise, 2, 4, size, size));
                    latents = scheduler.Step(index, latents, Guided(noise, scale));
                }
            }

            float[] picture = decoder.Run(
                Array.ConvertAll(latents, latent => latent / VaeScale), new long[] { 1, 4, size, size }, out long[] dims);
            Save(arguments[9], picture, (int)dims[2], (int)dims[3]);
        }
        if (Library.OnnxRuntimeVersion != OnnxRuntime.Version) throw new InvalidOperationException("two ONNX Runtimes");
        Console.WriteLine($"{scheduler.Timesteps.Length} steps on the host's ONNX Runtime {OnnxRuntime.Version}");
    }

    /// <summary>Unconditional row first, as this host feeds them: [2, ...] to [1, ...].</summary>
    private static float[] Guided(float[] noise, float scale)
    {
        var combined = new float[noise.Length / 2];
        for (int i = 0; i < combined.Length; i++)
        {
            combined[i] = noise[i] + scale * (noise[combined.Length + i] - noise[i]);
        }
        return combined;
    }

    private static float[] Noise(string file, int count)
    {
        byte[] bytes = File.ReadAllBytes(file);
        if (bytes.Length != count * sizeof(float)) throw new InvalidDataException($"{file}: does not hold {count} numbers");
        var noise = new float[count];
        Buffer.BlockCopy(bytes, 0, noise, 0, bytes.Length);
        return noise;
    }

    /// <summary>[1, 3, height, width] from -1 to 1.</summary>
    private static void Save(string file, float[] picture, int height, int width)
    {
        using (FileStream stream = File.Create(file))
        {
            byte[] head = System.Text.Encoding.ASCII.GetBytes($"P6\n{width} {height}\n255\n");
            stream.Write(head, 0, head.Length);
            for (int pixel = 0; pixel < height * width; pixel++)
            {
                for (int channel = 0; channel < 3; channel++)
                {
                    float value = picture[channel * height * width + pixel] / 2 + 0.5f;
                    stream.WriteByte((byte)Math.Round(Math.Max(0, Math.Min(1, value)) * 255));
                }
            }
        }
    }
}
