// What the C# binding must do, on the tiny pipeline; compiled together with it.
//
//     checks.exe layout                   numbers of its enums, sizes and offsets of its structs, as tests/capi_abi.golden lists them
//     checks.exe version                  the library's version, or why it is not found
//     checks.exe all MODEL CONCEPT PHOTOS everything else; ends with "0 failures"
using System;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using System.Threading;
using Infusion;

internal static class Checks
{
    private static int failures;

    private static int Main(string[] arguments)
    {
        switch (arguments[0])
        {
            case "layout":
                Layout();
                return 0;
            case "version":
                return Version();
            default:
                All(arguments[1], arguments[2], arguments[3]);
                Console.WriteLine($"{failures} failures");
                return failures == 0 ? 0 : 1;
        }
    }

    private static void Layout()
    {
        Console.WriteLine($"INFUSION_ABI_VERSION {Native.AbiVersion}");
        var enums = new Dictionary<Type, string>
        {
            { typeof(Code), "" }, { typeof(ElementType), "" }, { typeof(Answer), "" }, { typeof(Variant), "VARIANT_" },
            { typeof(Mode), "MODE_" }, { typeof(Graphs), "GRAPHS_" }, { typeof(Role), "ROLE_" }, { typeof(Stage), "STAGE_" },
        };
        foreach (KeyValuePair<Type, string> one in enums)
        {
            foreach (object number in Enum.GetValues(one.Key))
            {
                string name = Regex.Replace(number.ToString(), "(?<=[a-z])(?=[A-Z])", "_").ToUpperInvariant();
                Console.WriteLine($"INFUSION_{one.Value}{name} {(int)number}");
            }
        }
        foreach (Type type in typeof(Native).GetNestedTypes(BindingFlags.NonPublic))
        {
            if (!type.IsValueType) continue;
            Console.WriteLine($"sizeof {type.Name} {Marshal.SizeOf(type)}");
            foreach (FieldInfo field in type.GetFields())
            {
                Console.WriteLine($"offsetof {type.Name}.{field.Name} {Marshal.OffsetOf(type, field.Name)}");
            }
        }
    }

    private static int Version()
    {
        try
        {
            Console.WriteLine(Library.Version);
            return 0;
        }
        catch (InfusionException error)
        {
            Console.Error.WriteLine(error.Message);
            return 1;
        }
    }

    private static void Check(bool truth, string what)
    {
        if (truth) return;
        Console.WriteLine($"does not hold: {what}");
        failures++;
    }

    private static void Refused(Code code, string part, Action call)
    {
        try
        {
            call();
            Check(false, $"refused with {code} and '{part}'");
        }
        catch (InfusionException error)
        {
            Check(error.Code == code && error.Message.Contains(part), $"{code} with '{part}', found {error.Code}: {error.Message}");
        }
    }

    private static void All(string model, string conceptFile, string photographs)
    {
        Library.Init();
        Library.Init();
        Check(Library.OnnxRuntimeVersion.StartsWith("1."), "a version of ONNX Runtime");
        Errors();
        Tokens(model);
        ConceptFiles(conceptFile);
        GraphLevel(model, conceptFile);
        StepLevel(model, conceptFile);
        WholeLevel(model, conceptFile);
        Training(model, photographs);
    }

    private static void Errors()
    {
        Refused(Code.NotFound, "/nowhere", () => Concept.Load("/nowhere"));
        Refused(Code.InvalidArgument, "path", () => Concept.Load(null));
        Refused(Code.InvalidFile, "bytes", () => Concept.FromBytes(new byte[] { 1, 2, 3 }, "these bytes"));
    }

    private static void Tokens(string model)
    {
        var tokenizer = new Tokenizer(Path.Combine(model, "tokenizer"));
        long[] ids = tokenizer.Encode("a ball and a ball");
        Check(ids.Length == 77, "77 ids");
        Check(tokenizer.Find("ball", ids).Length == 2, "the ball is found twice");
        Refused(Code.NotFound, "snow", () => tokenizer.Find("snow", ids));
        tokenizer.Dispose();
        tokenizer.Dispose();
        try
        {
            tokenizer.Encode("late");
            Check(false, "an object that was disposed of is refused");
        }
        catch (ObjectDisposedException)
        {
        }
    }

    private static void ConceptFiles(string file)
    {
        using (Concept concept = Concept.Load(file))
        using (Concept again = Concept.FromBytes(concept.Encode("f32")))
        {
            Check(again.Describe().Contains("\"layers\""), "a description with layers");
            string copy = Path.GetTempFileName();
            Refused(Code.Failed, "exists", () => again.Save(copy));
            again.Save(copy, "f32", true);
            Concept.Load(copy).Dispose();
            File.Delete(copy);
        }
    }

    private static void GraphLevel(string model, string conceptFile)
    {
        using (Concept concept = Concept.Load(conceptFile))
        using (Model unet = Model.Open(Path.Combine(model, "unet", "model.onnx")))
        {
            Check(unet.Describe().Contains("infusion.delta"), "the names of the optional inputs");
            Delta delta = unet.Delta(concept);
            Check(delta.Tokens == 1 && delta.Numbers.Length == delta.Width, "[1, D]");
            Check(Array.Exists(delta.Numbers, number => number != 0), "numbers that are not 0");
            byte[] graph = unet.Graph(Variant.Shared);
            using (Model whole = Model.FromBytes(File.ReadAllBytes(Path.Combine(model, "unet", "model.onnx"))))
            {
                Check(whole.Graph(Variant.Shared).Length > 1000 && graph.Length > 1000, "graphs as bytes");
            }
        }
    }

    private static void StepLevel(string model, string conceptFile)
    {
        using (var tokenizer = new Tokenizer(Path.Combine(model, "tokenizer")))
        using (Concept concept = Concept.Load(conceptFile))
        using (var unet = new Unet(Path.Combine(model, "unet", "model.onnx"), new UnetOptions { Tokenizer = tokenizer }))
        {
            long[] ids = tokenizer.Encode("a photo of a ball in the snow");
            float[] sample = Numbers(2 * 4 * 8 * 8), context = Numbers(2 * 77 * 32);
            float[] plain = new float[sample.Length], drawn = new float[sample.Length], stated = new float[sample.Length];
            Action<Step, float[]> run = (step, noise) => unet.Run(step, Tensor.Of(sample, 2, 4, 8, 8),
                Tensor.Of(new long[] { 500 }), Tensor.Of(context, 2, 77, 32), Tensor.Of(noise, 2, 4, 8, 8));

            run(Rows(new Row { Role = Role.Conditional, Ids = ids }), plain);
            unet.SetConcept("ball", concept, 1, "ball", true);
            Check(unet.Concepts().Contains("\"ball\""), "a list with the ball");
            run(Rows(new Row { Role = Role.Conditional, Ids = ids }), drawn);
            var row = new Row { Role = Role.Conditional };
            row.Marks.Add(new Mark { ConceptName = "ball", Positions = tokenizer.Find("ball", ids) });
            run(Rows(row), stated);
            Check(Apart(plain, drawn, 0, 256) < 1e-4 && Apart(plain, drawn, 256, 512) > 1e-4, "only the prompt's row changes");
            Check(Apart(drawn, stated, 0, 512) < 1e-5, "marks say what ids say");

            GCHandle pinned = GCHandle.Alloc(stated, GCHandleType.Pinned);
            unet.Run(Rows(row), Tensor.Of(sample, 2, 4, 8, 8), Tensor.Of(new[] { 500.0 }, 1), Tensor.Of(context, 2, 77, 32),
                Tensor.At(ElementType.Float32, pinned.AddrOfPinnedObject(), 4 * stated.Length, 2, 4, 8, 8));
            pinned.Free();
            Check(Apart(drawn, stated, 0, 512) < 1e-5, "memory is what an array is, a double timestep what a long is");

            float[] foundation = new float[sample.Length], customised = new float[sample.Length];
            unet.Run2(Rows(row), Tensor.Of(sample, 2, 4, 8, 8), Tensor.Of(sample, 2, 4, 8, 8), Tensor.Of(new long[] { 500 }),
                Tensor.Of(context, 2, 77, 32), Tensor.Of(foundation, 2, 4, 8, 8), Tensor.Of(customised, 2, 4, 8, 8));
            Check(Apart(plain, foundation, 0, 512) < 1e-4 && Apart(drawn, customised, 0, 512) < 1e-4, "both predictions");
            unet.SetWeight("ball", 0);
            run(Rows(row), stated);
            Check(Apart(plain, stated, 0, 512) < 1e-5, "weight 0 is no concept");
            unet.SetWeight("ball", 1);
            unet.Preload();
            Check(unet.Describe().Contains("\"shared\""), "a description with the graph that was loaded");

            row.Marks[0].ConceptName = "cat";
            Refused(Code.NotFound, "cat", () => run(Rows(row), stated));
            Refused(Code.InvalidArgument, "sample", () => unet.Run(Rows(row), Tensor.Of(sample, 3, 4, 8, 8),
                Tensor.Of(new long[] { 500 }), Tensor.Of(context, 2, 77, 32), Tensor.Of(stated, 2, 4, 8, 8)));
            unet.RemoveConcept("ball");
            Refused(Code.NotFound, "ball", () => unet.SetWeight("ball", 1));
            unet.EndImage(0);
        }
    }

    private static void Training(string model, string photographs)
    {
        using (var pipeline = new Pipeline(model))
        {
            Check(pipeline.Describe().Contains("\"ddim\""), "the schedulers");
            int steps = 0;
            var options = new TrainOptions
            {
                Steps = 4, Batch = 1, Size = 64, Memory = "low",
                Progress = report => report.Stage == Stage.Steps && report.Loss > 0 && ++steps == 2 ? Answer.Finish : Answer.GoOn,
            };
            options.Subjects.Add(new Subject { Name = "ball", Class = "ball" });
            options.Photos.Add(new Photos { Folder = photographs, Subject = "ball" });
            options.Prompts.Add("a photo of a <ball>");
            options.Prompts.Add("a <ball> in the snow");
            Concept[] learned = pipeline.Train(options);
            Check(steps == 2 && learned.Length == 1, "what was learned in two steps");
            Check(learned[0].Describe().Contains("\"ball\""), "of a ball");
            learned[0].Dispose();
            options.Photos[0].Folder = "/nowhere";
            Refused(Code.NotFound, "/nowhere", () => pipeline.Train(options));
        }
    }

    private static Step Rows(Row conditional)
    {
        var step = new Step();
        step.Rows.Add(new Row { Role = Role.Unconditional });
        step.Rows.Add(conditional);
        return step;
    }

    private static float[] Numbers(int count)
    {
        var random = new Random(5);
        var numbers = new float[count];
        for (int index = 0; index < count; index++) numbers[index] = (float)(random.NextDouble() * 2 - 1);
        return numbers;
    }

    private static double Apart(float[] a, float[] b, int from, int to)
    {
        double most = 0;
        for (int index = from; index < to; index++) most = Math.Max(most, Math.Abs(a[index] - b[index]));
        return most;
    }

    private static void WholeLevel(string model, string conceptFile)
    {
        using (Concept concept = Concept.Load(conceptFile))
        using (var pipeline = new Pipeline(model))
        {
            var options = new GenerateOptions
            {
                Prompt = "a photo of a <ball> in the snow", NumInferenceSteps = 2, Width = 64, Height = 64, Foundation = true,
                Force = true,
            };
            options.Concepts.Add(new ConceptUse { Name = "ball", Concept = concept });
            using (Pictures pictures = pipeline.Generate(options))
            {
                Check(pictures.Count == 2 && !pictures[0].Foundation && pictures[1].Foundation, "C's picture, then F's");
                Check(pictures[0].Rgb.Length == 64 * 64 * 3 && pictures[0].Width == 64, "64 pixels a side");
                Refused(Code.InvalidArgument, "2", () => Console.WriteLine(pictures[2]));
            }

            options.Progress = report => Answer.Cancel;
            Refused(Code.Cancelled, "", () => pipeline.Generate(options));
            options.Progress = report => { throw new FormatException("the host's own"); };
            try
            {
                pipeline.Generate(options);
                Check(false, "an exception passes through");
            }
            catch (FormatException error)
            {
                Check(error.Message == "the host's own", "the callback's own exception");
            }

            options.Progress = report =>
            {
                GC.Collect();
                return Answer.GoOn;
            };
            var threads = new Thread[2];
            for (int index = 0; index < threads.Length; index++)
            {
                threads[index] = new Thread(() => pipeline.Generate(options).Dispose());
                threads[index].Start();
            }
            foreach (Thread thread in threads) thread.Join();
        }
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }
}
