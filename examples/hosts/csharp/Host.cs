// A C# host on the level of whole pictures: one with a concept, progress on the way.
//
//     mono host.exe MODEL CONCEPT NAME PROMPT SEED STEPS GUIDANCE SIZE OUTPUT.png
//
// MODEL is a pipeline's folder, NAME what PROMPT marks the concept by: "a photo of a <ball>".
using System;
using System.Globalization;
using Infusion;

internal static class Host
{
    private static int Main(string[] arguments)
    {
        if (arguments.Length != 9)
        {
            Console.Error.WriteLine("usage: host.exe MODEL CONCEPT NAME PROMPT SEED STEPS GUIDANCE SIZE OUTPUT.png");
            return 2;
        }
        try
        {
            Library.Init();
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
        int steps = 0;
        uint size = uint.Parse(arguments[7], CultureInfo.InvariantCulture);
        using (Concept concept = Concept.Load(arguments[1]))
        using (var pipeline = new Pipeline(arguments[0]))
        {
            var options = new GenerateOptions
            {
                Prompt = arguments[3],
                Seed = ulong.Parse(arguments[4], CultureInfo.InvariantCulture),
                NumInferenceSteps = uint.Parse(arguments[5], CultureInfo.InvariantCulture),
                GuidanceScale = double.Parse(arguments[6], CultureInfo.InvariantCulture),
                Width = size,
                Height = size,
                Progress = report =>
                {
                    if (report.Stage == Stage.Steps && report.Step > 0) steps++;
                    return Answer.GoOn;
                },
            };
            options.Concepts.Add(new ConceptUse { Name = arguments[2], Concept = concept });
            using (Pictures pictures = pipeline.Generate(options)) pictures.Save(0, arguments[8], true);
        }
        Console.WriteLine($"{steps} steps on ONNX Runtime {Library.OnnxRuntimeVersion}");
    }
}
