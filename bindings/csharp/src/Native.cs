using System;
using System.Runtime.InteropServices;

namespace Infusion
{
    /// <summary>infusion.h, name for name. Everything else in this folder is built on it.</summary>
    internal static class Native
    {
        /// <summary>Without prefix and suffix: each system adds its own.</summary>
        private const string Name = "infusion";

        internal const uint AbiVersion = 1;

#pragma warning disable CS0649 // fields that only the library writes
        internal struct infusion_init_options
        {
            public uint struct_size;
            public IntPtr ort_api_base;
            public IntPtr onnxruntime_path;
        }

        internal struct infusion_tensor
        {
            public uint struct_size;
            public ElementType type;
            public IntPtr data;
            public UIntPtr size;
            public IntPtr dims;
            public UIntPtr rank;
        }

        internal struct infusion_save_options
        {
            public uint struct_size;
            public IntPtr variants;
            public int self_contained;
            public int overwrite;
        }

        internal struct infusion_mark
        {
            public uint struct_size;
            public float strength;
            public IntPtr concept_name;
            public IntPtr positions;
            public UIntPtr positions_count;
        }

        internal struct infusion_row
        {
            public uint struct_size;
            public Role role;
            public ulong image;
            public IntPtr marks;
            public UIntPtr marks_count;
            public IntPtr ids;
            public UIntPtr ids_count;
        }

        internal struct infusion_input
        {
            public uint struct_size;
            public IntPtr name;
            public IntPtr tensor;
        }

        internal struct infusion_step
        {
            public uint struct_size;
            public uint index;
            public uint steps;
            public uint rows_per_image;
            public IntPtr rows;
            public UIntPtr rows_count;
            public IntPtr inputs;
            public UIntPtr inputs_count;
        }

        internal struct infusion_foundation
        {
            public uint struct_size;
            public uint index;
            public ulong image;
            public UIntPtr rows;
            public IntPtr roles;
            public IntPtr noise;
            public IntPtr sample;
            public IntPtr next;
            public long channels;
            public long height;
            public long width;
        }

        internal struct infusion_unet_options
        {
            public uint struct_size;
            public Mode mode;
            public Graphs graphs;
            public uint threads;
            public int low_memory;
            public IntPtr provider;
            public IntPtr cache;
            public IntPtr graph_folder;
            public IntPtr tokenizer;
            public IntPtr scheduler;
            public IntPtr scheduler_user;
        }

        internal struct infusion_pipeline_options
        {
            public uint struct_size;
            public uint threads;
            public int low_memory;
            public IntPtr provider;
            public IntPtr cache;
            public IntPtr graph_folder;
        }

        internal struct infusion_report
        {
            public uint struct_size;
            public Stage stage;
            public uint step;
            public uint steps;
            public double timestep;
            public double loss;
            public IntPtr latents;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 4)]
            public long[] latents_dims;
        }

        internal struct infusion_concept_use
        {
            public uint struct_size;
            public float weight;
            public IntPtr name;
            public IntPtr handle;
        }

        internal struct infusion_generate_options
        {
            public uint struct_size;
            public uint width;
            public uint height;
            public uint num_inference_steps;
            public uint batch;
            public Mode mode;
            public Graphs graphs;
            public int foundation;
            public int force;
            public ulong seed;
            public double guidance_scale;
            public double start;
            public double end;
            public IntPtr prompt;
            public IntPtr negative_prompt;
            public IntPtr scheduler;
            public IntPtr concepts;
            public UIntPtr concepts_count;
            public IntPtr layer_scales;
            public UIntPtr layer_scales_count;
            public IntPtr noise;
            public UIntPtr noise_count;
            public IntPtr init_rgb;
            public uint init_width;
            public uint init_height;
            public double strength;
            public IntPtr progress;
            public IntPtr progress_user;
        }

        internal struct infusion_picture
        {
            public uint struct_size;
            public uint width;
            public uint height;
            public int foundation;
            public ulong seed;
            public IntPtr rgb;
            public UIntPtr size;
        }

        internal struct infusion_subject
        {
            public uint struct_size;
            public IntPtr name;
            public IntPtr class_word;
        }

        internal struct infusion_photos
        {
            public uint struct_size;
            public IntPtr folder;
            public IntPtr subject;
            public IntPtr masks;
        }

        internal struct infusion_train_options
        {
            public uint struct_size;
            public uint steps;
            public uint batch;
            public uint micro_batch;
            public uint size;
            public int flip;
            public int resume;
            public uint checkpoint_every;
            public ulong seed;
            public double learning_rate;
            public IntPtr memory;
            public IntPtr checkpoint;
            public IntPtr subjects;
            public UIntPtr subjects_count;
            public IntPtr photos;
            public UIntPtr photos_count;
            public IntPtr prompts;
            public UIntPtr prompts_count;
            public IntPtr progress;
            public IntPtr progress_user;
        }
#pragma warning restore CS0649

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate int infusion_scheduler(IntPtr user, ref infusion_foundation foundation);

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate int infusion_progress(IntPtr user, ref infusion_report report);

        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code infusion_status_code(IntPtr status);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_status_text(IntPtr status);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void infusion_status_free(IntPtr status);

        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_version();
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern uint infusion_abi_version();
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_onnxruntime_version();
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_init(ref infusion_init_options options);

        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_buffer_data(BufferHandle buffer);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern UIntPtr infusion_buffer_size(BufferHandle buffer);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void infusion_buffer_free(IntPtr buffer);

        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_tokenizer_create(byte[] folder, out IntPtr tokenizer);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_tokenizer_encode(
            TokenizerHandle tokenizer, byte[] text, [Out] long[] ids, ref UIntPtr count);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_tokenizer_find(
            TokenizerHandle tokenizer, byte[] phrase, long[] ids, UIntPtr count, IntPtr positions, ref UIntPtr positions_count);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void infusion_tokenizer_free(IntPtr tokenizer);

        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_concept_load(byte[] path, out IntPtr concept);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_concept_load_memory(
            byte[] bytes, UIntPtr size, byte[] name, out IntPtr concept);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_concept_describe(ConceptHandle concept, out IntPtr json);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_concept_save(
            ConceptHandle concept, byte[] path, byte[] precision, int overwrite);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_concept_encode(ConceptHandle concept, byte[] precision, out IntPtr bytes);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void infusion_concept_free(IntPtr concept);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_concept_matrix(
            byte[] model, byte[] path, [Out] float[] delta, ref UIntPtr count, [Out] long[] dims);

        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_model_open(byte[] path, out IntPtr model);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_model_open_memory(
            byte[] bytes, UIntPtr size, byte[] path, out IntPtr model);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_model_describe(ModelHandle model, out IntPtr json);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_model_graph(ModelHandle model, Variant variant, out IntPtr onnx);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_model_save(
            ModelHandle model, byte[] folder, ref infusion_save_options options, out IntPtr manifest);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_model_delta(
            ModelHandle model, ConceptHandle concept, [Out] float[] delta, ref UIntPtr count, [Out] long[] dims);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void infusion_model_free(IntPtr model);

        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_open(
            byte[] model, ref infusion_unet_options options, out IntPtr unet);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_describe(UnetHandle unet, out IntPtr json);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_preload(UnetHandle unet);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_run(
            UnetHandle unet, ref infusion_step step, ref infusion_tensor sample, ref infusion_tensor timestep,
            ref infusion_tensor encoder_hidden_states, ref infusion_tensor output);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_run2(
            UnetHandle unet, ref infusion_step step, ref infusion_tensor foundation, ref infusion_tensor sample,
            ref infusion_tensor timestep, ref infusion_tensor encoder_hidden_states, ref infusion_tensor foundation_out,
            ref infusion_tensor output);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_end_image(UnetHandle unet, ulong image);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_set_concept(
            UnetHandle unet, byte[] name, ConceptHandle concept, float weight, byte[] phrase, int force);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_set_weight(UnetHandle unet, byte[] name, float weight);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_remove_concept(UnetHandle unet, byte[] name);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_unet_concepts(UnetHandle unet, out IntPtr json);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void infusion_unet_free(IntPtr unet);

        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_pipeline_open(
            byte[] folder, ref infusion_pipeline_options options, out IntPtr pipeline);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_pipeline_describe(PipelineHandle pipeline, out IntPtr json);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void infusion_pipeline_free(IntPtr pipeline);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_generate(
            PipelineHandle pipeline, ref infusion_generate_options options, out IntPtr pictures);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern UIntPtr infusion_pictures_count(PicturesHandle pictures);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_pictures_get(
            PicturesHandle pictures, UIntPtr index, ref infusion_picture picture);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_pictures_save(
            PicturesHandle pictures, UIntPtr index, byte[] path, int overwrite);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void infusion_pictures_free(IntPtr pictures);
        [DllImport(Name, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr infusion_train(
            PipelineHandle pipeline, ref infusion_train_options options, [In, Out] IntPtr[] concepts, ref UIntPtr count);
    }
}
