using System.Collections.Generic;

namespace Infusion
{
    /// <summary>Where a concept's tokens are in a row's prompt.</summary>
    public sealed class Mark
    {
        /// <summary>The concept, as named in <see cref="Unet.SetConcept"/>.</summary>
        public string ConceptName { get; set; }

        /// <summary>Rows of encoder_hidden_states, as <see cref="Tokenizer.Find"/> gives them.</summary>
        public int[] Positions { get; set; }

        /// <summary>Times the concept's weight; 1 is all of it.</summary>
        public float Strength { get; set; } = 1;
    }

    /// <summary>One row of the batch.</summary>
    public sealed class Row
    {
        /// <summary>What the row is.</summary>
        public Role Role { get; set; } = Role.Conditional;

        /// <summary>Rows of one picture share it; any number that tells the pictures under way apart.</summary>
        public ulong Image { get; set; }

        /// <summary>The ids that the row's prompt was encoded from: every concept goes where its phrase occurs.</summary>
        public long[] Ids { get; set; }

        /// <summary>Or where concepts go, stated.</summary>
        public List<Mark> Marks { get; } = new List<Mark>();
    }

    /// <summary>What a call of <see cref="Unet.Run"/> is about, beside its tensors.</summary>
    public sealed class Step
    {
        /// <summary>Which evaluation of the picture this is: grows with each; one not above the last begins anew.</summary>
        public uint Index { get; set; }

        /// <summary>Evaluations in all; 0: not known.</summary>
        public uint Steps { get; set; }

        /// <summary>Rows that a picture has over all calls of one evaluation; 0: they are all in this call.</summary>
        public uint RowsPerImage { get; set; }

        /// <summary>One for each row of the sample, in its order.</summary>
        public List<Row> Rows { get; } = new List<Row>();

        /// <summary>Further inputs of the export, by name.</summary>
        public Dictionary<string, Tensor> Inputs { get; } = new Dictionary<string, Tensor>();

        internal Native.infusion_step Pinned(Arena arena)
        {
            var rows = new List<Native.infusion_row>();
            foreach (Row row in Rows) rows.Add(Pinned(row, arena));
            var inputs = new List<Native.infusion_input>();
            foreach (KeyValuePair<string, Tensor> input in Inputs)
            {
                inputs.Add(new Native.infusion_input
                {
                    struct_size = Size.Of<Native.infusion_input>(),
                    name = arena.Text(input.Key),
                    tensor = arena.Structs(new[] { input.Value.Pinned(arena) }),
                });
            }
            return new Native.infusion_step
            {
                struct_size = Size.Of<Native.infusion_step>(),
                index = Index,
                steps = Steps,
                rows_per_image = RowsPerImage,
                rows = arena.Structs(rows),
                rows_count = Size.Count(rows),
                inputs = arena.Structs(inputs),
                inputs_count = Size.Count(inputs),
            };
        }

        private static Native.infusion_row Pinned(Row row, Arena arena)
        {
            var marks = new List<Native.infusion_mark>();
            foreach (Mark mark in row.Marks)
            {
                marks.Add(new Native.infusion_mark
                {
                    struct_size = Size.Of<Native.infusion_mark>(),
                    strength = mark.Strength,
                    concept_name = arena.Text(mark.ConceptName),
                    positions = arena.Sizes(mark.Positions),
                    positions_count = Size.Count(mark.Positions),
                });
            }
            return new Native.infusion_row
            {
                struct_size = Size.Of<Native.infusion_row>(),
                role = row.Role,
                image = row.Image,
                marks = arena.Structs(marks),
                marks_count = Size.Count(marks),
                ids = arena.Pin(row.Ids),
                ids_count = Size.Count(row.Ids),
            };
        }
    }
}
