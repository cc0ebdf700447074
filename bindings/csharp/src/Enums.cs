namespace Infusion
{
    /// <summary>Of what kind an error is.</summary>
    public enum Code
    {
        /// <summary>No error.</summary>
        Ok = 0,
        /// <summary>Null, wrong type, rank, size or option.</summary>
        InvalidArgument = 1,
        /// <summary>An object that was disposed of.</summary>
        InvalidHandle = 2,
        /// <summary>A file, concept or token that is not there.</summary>
        NotFound = 3,
        /// <summary>A model, concept or picture that is not usable.</summary>
        InvalidFile = 4,
        /// <summary>A concept learned on another base model.</summary>
        WrongModel = 5,
        /// <summary>ONNX Runtime missing, too old, or failing.</summary>
        Runtime = 6,
        /// <summary>A callback asked for it.</summary>
        Cancelled = 7,
        /// <summary>A defect of the library; please report it.</summary>
        Panic = 9,
        /// <summary>Anything else: the text says what.</summary>
        Failed = 10,
    }

    /// <summary>The type of a tensor's numbers.</summary>
    public enum ElementType
    {
        /// <summary>float</summary>
        Float32 = 1,
        /// <summary>IEEE half, as ushort</summary>
        Float16 = 2,
        /// <summary>double</summary>
        Float64 = 3,
        /// <summary>int</summary>
        Int32 = 4,
        /// <summary>long</summary>
        Int64 = 5,
    }

    /// <summary>The graphs that a UNet is rewritten into.</summary>
    public enum Variant
    {
        /// <summary>The foundation stream; maps and values as further outputs.</summary>
        F = 0,
        /// <summary>The customised stream; maps and values as further inputs.</summary>
        C = 1,
        /// <summary>Both, each on its own latents: 2B rows.</summary>
        Dual = 2,
        /// <summary>Both on the same latents; fed alike, it is the source.</summary>
        Shared = 3,
        /// <summary>Loss and gradient of the residual.</summary>
        Train = 4,
    }

    /// <summary>Which latents the foundation stream is evaluated on.</summary>
    public enum Mode
    {
        /// <summary>Unet.Run: separate with a scheduler, else shared. Unet.Run2 and Pipeline.Generate: separate.</summary>
        Auto = 0,
        /// <summary>Its own, from the same start noise: its picture is the ordinary one.</summary>
        Separate = 1,
        /// <summary>Those of the customised stream; rows without a concept are then run once.</summary>
        Shared = 2,
    }

    /// <summary>Which graphs compute the streams; the noise is the same to rounding.</summary>
    public enum Graphs
    {
        /// <summary>What suits model, mode and provider.</summary>
        Auto = 0,
        /// <summary>f, then c.</summary>
        Two = 1,
        /// <summary>dual or shared, as the mode is.</summary>
        One = 2,
    }

    /// <summary>What a row of the batch is.</summary>
    public enum Role
    {
        /// <summary>The negative prompt: never carries a concept.</summary>
        Unconditional = 0,
        /// <summary>The prompt.</summary>
        Conditional = 1,
        /// <summary>Any further row of a picture, e.g. a weighed prompt.</summary>
        Other = 2,
    }

    /// <summary>What a call that takes long is at.</summary>
    public enum Stage
    {
        /// <summary>Encoding prompts.</summary>
        Text = 0,
        /// <summary>Encoding pictures.</summary>
        Pictures = 1,
        /// <summary>Loading graphs.</summary>
        Load = 2,
        /// <summary>A step is done, or the steps begin: step 0.</summary>
        Steps = 3,
        /// <summary>Decoding latents.</summary>
        Decode = 4,
    }

    /// <summary>What a progress callback wants.</summary>
    public enum Answer
    {
        /// <summary>Go on.</summary>
        GoOn = 0,
        /// <summary>The call ends with <see cref="Code.Cancelled"/>.</summary>
        Cancel = 1,
        /// <summary>Train: end here, with what was learned so far; elsewhere as <see cref="Cancel"/>.</summary>
        Finish = 2,
    }
}
